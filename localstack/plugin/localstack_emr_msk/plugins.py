"""What LocalStack loads: the entry points in pyproject.toml.

Modules are imported only when needed, because imports delay LocalStack's start.
"""

# LocalStack's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from localstack.runtime import hooks
from localstack.services.plugins import Service, aws_provider

_LOG = logging.getLogger(__name__)
_stops: list[Callable[[], None]] = []
_cluster_tags: list[Callable[[str, str, str], Mapping[str, str]]] = []


@aws_provider(api="emr")
def emr() -> Service:
    """EMR."""
    from localstack import config
    from localstack_emr_msk.emr.provider import EmrProvider
    from localstack_emr_msk.service import service_of
    from localstack_emr_msk.settings import settings_from

    # An IP address, not a name: with it clients put buckets into the path.
    endpoint = f"http://127.0.0.1:{config.GATEWAY_LISTEN[0].port}"
    provider = EmrProvider(settings_from(endpoint))
    _stops.append(provider.stop)
    _cluster_tags.append(provider.registry.tags)
    return service_of("emr", provider)


@aws_provider(api="kafka")
def kafka() -> Service:
    """MSK."""
    from localstack_emr_msk.msk.provider import MskProvider
    from localstack_emr_msk.service import service_of

    return service_of("kafka", MskProvider(os.environ))


@aws_provider(api="autoscaling")
def autoscaling() -> Service:
    """Auto Scaling groups of moto, whose instances exist in name only."""
    from localstack_emr_msk.service import moto_service

    return moto_service("autoscaling")


@aws_provider(api="elbv2")
def elbv2() -> Service:
    """Load balancers of moto, which forward no requests."""
    from localstack_emr_msk.service import moto_service

    return moto_service("elbv2")


@hooks.on_infra_start()
def prepare() -> None:
    """Prepares EMR in Step Functions, the repairs of other services, and permissions."""
    from localstack_emr_msk.iam.install import evaluate_permissions
    from localstack_emr_msk.loading import patch_service_loading, use_own_object_folder
    from localstack_emr_msk.rules.handler import add_rules
    from localstack_emr_msk.settings import permission_settings

    add_rules()
    use_own_object_folder()
    patch_service_loading()
    # Last, and so first of all: AWS validates only what the caller may do.
    evaluate_permissions(permission_settings(), _tags_of)


def _tags_of(account: str, region: str, cluster: str) -> Mapping[str, str]:
    """Returns the tags of a cluster; there are none before the first call to EMR."""
    return _cluster_tags[0](account, region, cluster) if _cluster_tags else {}


@hooks.on_infra_shutdown()
def end() -> None:
    """Stops all clusters. If LocalStack is killed instead, the supervisors of processes notice."""
    for stop in _stops:
        stop()


__all__: list[Any] = ["autoscaling", "elbv2", "emr", "end", "kafka", "prepare"]

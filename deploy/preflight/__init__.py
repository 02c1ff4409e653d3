"""Checks before anything is built or billed; a file for each concern.

Each finding is one line with its remedy. A check that AWS does not permit (no access to Service
Quotas, say) stops nothing: it becomes a warning.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploy.permissions import Scope
from deploy.preflight.access import check_credentials, check_endpoint, check_region
from deploy.preflight.brokers import broker_findings
from deploy.preflight.endpoints import endpoint_findings
from deploy.preflight.finding import Finding, checked
from deploy.preflight.needs import Group, Kafka, Needs, needs_of
from deploy.preflight.permissions import permission_findings
from deploy.preflight.quotas import quota_findings
from deploy.preflight.release import release_findings
from deploy.preflight.values import value_findings
from deploy.preflight.zones import zone_findings
from superres.errors import ConfigError
from superres.pipeline.config_file import validated

if TYPE_CHECKING:
    from deploy.clients import Clients

__all__ = [
    "Finding",
    "Group",
    "Kafka",
    "Needs",
    "alarm_findings",
    "check_credentials",
    "check_endpoint",
    "check_region",
    "config_findings",
    "findings",
    "local_findings",
    "needs_of",
    "value_findings",
]


def findings(needs: Needs, scope: Scope, name: str, clients: "Clients") -> Iterator[Finding]:
    """Yields the problems that a deployment would meet, and the checks that could not be made.

    ``name`` is the environment's full name, with which the names of its parts begin.
    """
    caller = clients.sts.get_caller_identity()["Arn"]
    ec2, quotas, kafka = clients.ec2, clients.quotas, needs.kafka
    yield from local_findings(needs, clients)
    yield from alarm_findings(needs)
    yield from checked("instance types by zone", lambda: zone_findings(needs, ec2))
    yield from checked("endpoint services", lambda: endpoint_findings(needs, ec2))
    yield from checked("quotas", lambda: quota_findings(needs, ec2, quotas))
    if kafka is not None:
        yield from checked("versions of Kafka", lambda: broker_findings(kafka, clients.kafka))
    yield from checked(
        f"the permissions of {caller}",
        lambda: permission_findings(scope, name, caller, clients.iam),
    )


def alarm_findings(needs: Needs) -> Iterator[Finding]:
    """Yields a warning where nobody would hear of a failed run or of costs."""
    if not needs.alarms_email:
        yield Finding(
            "no address for alarms, so nobody hears of failed runs or of costs; set "
            "alarms = { email = … } in the environment's .tfvars file",
            stops=False,
        )


def local_findings(needs: Needs, clients: "Clients") -> Iterator[Finding]:
    """Yields the problems that the local cloud knows too; it has no zones, quotas or bills."""
    yield from config_findings(needs)
    yield from checked("the release label", lambda: release_findings(needs, clients.emr))


def config_findings(needs: Needs) -> Iterator[Finding]:
    """Yields what services and jobs would refuse to start with."""
    try:
        validated(needs.config, "config in the environment's .tfvars file")
    except ConfigError as error:
        yield Finding(str(error))

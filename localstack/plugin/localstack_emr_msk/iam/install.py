"""Installs the evaluation of permissions in LocalStack."""

from localstack.aws.handlers import serve_custom_service_request_handlers
from localstack.services.edge import ROUTER

from localstack_emr_msk.iam.handler import Mode, PermissionHandler
from localstack_emr_msk.iam.report import Report
from localstack_emr_msk.iam.sessions import Credentials
from localstack_emr_msk.iam.stores import ClusterTags, Stores
from localstack_emr_msk.settings import PermissionSettings


def evaluate_permissions(settings: PermissionSettings, cluster_tags: ClusterTags) -> None:
    """Serves credentials of roles and, unless the mode is off, evaluates every call."""
    cloud, mode = Stores(cluster_tags), Mode(settings.mode)
    ROUTER.add(Credentials(cloud))
    if mode is not Mode.OFF:
        handler = PermissionHandler(cloud, Report(settings.report), mode)
        # First: S3 adds a handler of its own when it is loaded, which answers some requests.
        serve_custom_service_request_handlers.handlers.insert(0, handler)

"""Changes LocalStack's own services when it loads them, which is at their first request.

LocalStack has no hook for that, so the method that registers a loaded service is wrapped.
"""

import functools
from pathlib import Path
from typing import Any

from localstack.aws.handlers.service import ServiceRequestRouter
from localstack.services.s3 import provider as s3

from localstack import config

_MARK = "_with_emr_msk"


def patch_service_loading() -> None:
    """Wraps the loading of services; calling it again does nothing."""
    add = ServiceRequestRouter.add_skeleton
    if hasattr(add, _MARK):
        return

    @functools.wraps(add)
    def add_skeleton(self: Any, skeleton: Any) -> Any:
        name = str(skeleton.service.service_name)
        if name == "stepfunctions":
            # Only now: importing the interpreter takes seconds.
            from localstack_emr_msk.stepfunctions.register import register_emr

            register_emr()
        if name == "cloudwatch":
            from localstack_emr_msk.alarms import publish_as_cloudwatch

            publish_as_cloudwatch()
        if name == "s3":
            from localstack_emr_msk.iam.objects import answer_for_each_key

            answer_for_each_key(skeleton.dispatch_table)
        from localstack_emr_msk.gaps import repair_operations

        repair_operations(name, skeleton.dispatch_table)
        return add(self, skeleton)

    setattr(add_skeleton, _MARK, True)
    ServiceRequestRouter.add_skeleton = add_skeleton


def use_own_object_folder() -> None:
    """Makes S3 store objects in the folder of this LocalStack.

    By default all LocalStacks of a machine share a folder: deleting a bucket also deletes the
    objects of a bucket of the same name in another, and a killed one leaves its objects behind.
    """
    s3.DEFAULT_S3_TMP_DIR = str(Path(config.dirs.tmp) / "s3")

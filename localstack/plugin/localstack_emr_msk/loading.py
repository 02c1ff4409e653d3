"""What is done to a service of LocalStack's own when it is loaded, which is when it is first asked.

LocalStack offers no hook for it, so the method that takes a loaded service in is wrapped.
"""

import functools
from pathlib import Path
from typing import Any

from localstack.aws.handlers.service import ServiceRequestRouter
from localstack.services.s3 import provider as s3

from localstack import config

_MARK = "_with_emr_msk"


def watch() -> None:
    """Begins to look at services as they are loaded; a second time does nothing."""
    add = ServiceRequestRouter.add_skeleton
    if hasattr(add, _MARK):
        return

    @functools.wraps(add)
    def add_skeleton(self: Any, skeleton: Any) -> Any:
        name = str(skeleton.service.service_name)
        if name == "stepfunctions":
            # Only now: importing the interpreter takes seconds.
            from localstack_emr_msk.stepfunctions.register import teach

            teach()
        from localstack_emr_msk.gaps import close

        close(name, skeleton.dispatch_table)
        return add(self, skeleton)

    setattr(add_skeleton, _MARK, True)
    ServiceRequestRouter.add_skeleton = add_skeleton


def keep_objects_apart() -> None:
    """Has S3 keep objects in the folder of this LocalStack.

    They lie in one folder of the machine, else: whoever deletes a bucket deletes those of the same
    name of another LocalStack, and what is killed leaves them behind.
    """
    s3.DEFAULT_S3_TMP_DIR = str(Path(config.dirs.tmp) / "s3")

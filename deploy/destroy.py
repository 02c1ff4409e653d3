"""``make destroy``: takes an environment away, so that nothing is billed any more.

Executions and clusters go first, since what they still write would keep buckets from going; then
the buckets are emptied, old versions too; then Terraform destroys. The bucket of the states goes
with the last environment.
"""

import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deploy.environments import Environment
from deploy.executions import running
from deploy.steps import Pause, Tell, live_clusters
from deploy.terraform import ANY_PACKAGE, Terraform, evaluate
from superres.errors import PrerequisiteError

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef
    from types_boto3_stepfunctions import SFNClient

_BUCKET = ("managed", "aws_s3_bucket")
_AT_ONCE = 1000  # DeleteObjects takes no more
_WAIT_SECONDS = 10.0
_MOST_WAITS = 120  # a cluster takes five minutes to go


def check_protection(environment: Environment) -> None:
    """Raises ``PrerequisiteError`` while the environment's values protect it."""
    if evaluate("var.deletion_protection", environment.values):
        raise PrerequisiteError(
            f"{environment.full_name} is protected; write deletion_protection = false into "
            f"{environment.values.name}, run make deploy ENV={environment.name}, then this again"
        )


def stop_work(
    environment: Environment,
    machine: str | None,
    states: "SFNClient",
    emr: "EMRClient",
    tell: Tell,
    pause: Pause = time.sleep,
) -> None:
    """Stops executions, then terminates every cluster and waits until they are gone."""
    for execution in running(states, machine) if machine else ():
        tell(f"stopping execution {execution.name}")
        states.stop_execution(executionArn=execution.arn, cause="make destroy")
    for _ in range(_MOST_WAITS):
        alive = list(live_clusters(emr, environment.full_name))
        if not alive:
            return
        going = [cluster for cluster, _, state in alive if state != "TERMINATING"]
        if going:
            tell(f"terminating {', '.join(going)}")
            emr.set_termination_protection(JobFlowIds=going, TerminationProtected=False)
            emr.terminate_job_flows(JobFlowIds=going)
        pause(_WAIT_SECONDS)
    raise PrerequisiteError(
        f"clusters of {environment.full_name} do not go away; look at them in the console of EMR, "
        "then run make destroy again"
    )


def buckets_of(terraform: Terraform) -> list[str]:
    """Every bucket in the state: outputs are missing where a deployment stopped midway."""
    values = json.loads(terraform.read("show", "-json")).get("values", {})
    modules = [values.get("root_module", {})]
    found = []
    while modules:
        module = modules.pop()
        modules += module.get("child_modules", [])
        resources = module.get("resources", [])
        # What a data source only reads is somebody else's.
        ours = [each for each in resources if (each["mode"], each["type"]) == _BUCKET]
        found += [each["values"]["bucket"] for each in ours]
    return sorted(found)


def empty_bucket(s3: "S3Client", bucket: str, prefix: str = "") -> int:
    """Deletes all objects, versions and delete markers; returns how many. Gone is empty too."""
    count = 0
    try:
        for batch in _batches(_versions(s3, bucket, prefix)):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            for error in answer.get("Errors", []):
                raise PrerequisiteError(
                    f"s3://{bucket}/{error.get('Key')}: cannot be deleted ({error.get('Code')}); "
                    "see that your role may s3:DeleteObjectVersion there"
                )
            count += len(batch)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise
    return count


def _versions(s3: "S3Client", bucket: str, prefix: str) -> Iterator["ObjectIdentifierTypeDef"]:
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for each in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            yield {"Key": each["Key"], "VersionId": each["VersionId"]}


def _batches(
    keys: Iterable["ObjectIdentifierTypeDef"],
) -> Iterator[list["ObjectIdentifierTypeDef"]]:
    batch: list[ObjectIdentifierTypeDef] = []
    for key in keys:
        batch.append(key)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def destroy_with_terraform(
    terraform: Terraform, environment: Environment, buckets: Iterable[str], s3: "S3Client"
) -> None:
    """Empties and destroys; once more if logs came into a bucket meanwhile."""
    # Terraform reads a package even to destroy. Not build/package, which may be missing or not fit
    # these values (no wheelhouse for GPUs, say): that would fail after the images are gone.
    arguments = [
        *("destroy", "-auto-approve", f"-var-file={environment.values}"),
        f"-var=package_dir={ANY_PACKAGE}",
    ]
    buckets = list(buckets)
    for bucket in buckets:
        empty_bucket(s3, bucket)
    try:
        terraform.call(*arguments)
    except PrerequisiteError:
        if not sum(empty_bucket(s3, bucket) for bucket in buckets):
            raise
        terraform.call(*arguments)


def forget_state(s3: "S3Client", environment: Environment, account: str) -> bool:
    """Deletes the state, which holds nothing any more; and the bucket, if it was the last one.

    Returns whether the bucket is gone.
    """
    bucket = environment.state_bucket(account)
    empty_bucket(s3, bucket, prefix=environment.state_key)
    left: Any = s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    if left.get("KeyCount"):
        return False
    empty_bucket(s3, bucket)
    s3.delete_bucket(Bucket=bucket)
    return True

"""``make destroy``: deletes an environment, so that nothing is billed any more.

Executions and clusters are stopped first, since a bucket they still write to cannot be deleted;
then the buckets are emptied, old versions included; then Terraform destroys. The state bucket is
deleted with the last environment.
"""

import json
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from deploy.callbacks import Pause, Report
from deploy.environments import Environment
from deploy.executions import running_executions
from deploy.resources import existing_resources
from deploy.steps import live_clusters
from deploy.terraform import SAMPLE_PACKAGE, Terraform, value_of
from superres.errors import PrerequisiteError

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef
    from types_boto3_stepfunctions import SFNClient

_BATCH = 1000  # the most that DeleteObjects accepts
_WAIT_SECONDS = 10.0
_MAX_WAITS = 120  # a cluster takes five minutes to terminate


def check_protection(environment: Environment) -> None:
    """Raises ``PrerequisiteError`` while the environment's values protect it."""
    if value_of("var.deletion_protection", environment.values):
        raise PrerequisiteError(
            f"{environment.full_name} is protected; set deletion_protection = false in "
            f"{environment.values.name}, run make deploy ENV={environment.name}, then "
            "make destroy again"
        )


def stop_work(
    environment: Environment,
    state_machine: str | None,
    stepfunctions: "SFNClient",
    emr: "EMRClient",
    report: Report,
    pause: Pause = time.sleep,
) -> None:
    """Stops executions, then terminates every cluster and waits until they are gone."""
    for execution in running_executions(stepfunctions, state_machine) if state_machine else ():
        report(f"stopping execution {execution.name}")
        stepfunctions.stop_execution(executionArn=execution.arn, cause="make destroy")
    for _ in range(_MAX_WAITS):
        alive = list(live_clusters(emr, environment.full_name))
        if not alive:
            return
        active = [cluster for cluster, _, state in alive if state != "TERMINATING"]
        if active:
            report(f"terminating {', '.join(active)}")
            emr.set_termination_protection(JobFlowIds=active, TerminationProtected=False)
            emr.terminate_job_flows(JobFlowIds=active)
        pause(_WAIT_SECONDS)
    raise PrerequisiteError(
        f"clusters of {environment.full_name} do not terminate; look at them in the EMR console, "
        "then run make destroy again"
    )


def buckets_of(terraform: Terraform) -> list[str]:
    """Returns every bucket in the state; outputs may be missing after a partial deployment."""
    resources = existing_resources(json.loads(terraform.read("show", "-json")))
    return sorted(each.values["bucket"] for each in resources if each.type == "aws_s3_bucket")


def empty_bucket(s3: "S3Client", bucket: str, prefix: str = "") -> int:
    """Deletes all objects, versions and delete markers; returns how many.

    A bucket that does not exist counts as empty. Raises ``PrerequisiteError`` for an object that
    cannot be deleted.
    """
    count = 0
    try:
        for batch in _batches(_versions(s3, bucket, prefix)):
            answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
            for error in answer.get("Errors", []):
                raise PrerequisiteError(
                    f"s3://{bucket}/{error.get('Key')}: cannot be deleted ({error.get('Code')}); "
                    "allow your role s3:DeleteObjectVersion there"
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
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def destroy_with_terraform(
    terraform: Terraform, environment: Environment, buckets: Iterable[str], s3: "S3Client"
) -> None:
    """Empties the buckets and destroys; tries again if a bucket received logs meanwhile."""
    # Terraform reads a package even to destroy. Not build/package, which may be missing or not fit
    # these values (no wheelhouse for GPUs, say): that would fail after the images are deleted.
    arguments = [
        *("destroy", "-auto-approve", f"-var-file={environment.values}"),
        f"-var=package_dir={SAMPLE_PACKAGE}",
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


def delete_state(s3: "S3Client", environment: Environment, account: str) -> bool:
    """Deletes the environment's state, and the state bucket if no other environment is left.

    Returns whether the bucket was deleted.
    """
    bucket = environment.state_bucket(account)
    empty_bucket(s3, bucket, prefix=environment.state_key)
    remaining: Any = s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    if remaining.get("KeyCount"):
        return False
    empty_bucket(s3, bucket)
    s3.delete_bucket(Bucket=bucket)
    return True

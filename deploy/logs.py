"""``make logs``: the end of what a run's steps wrote, from the bucket that EMR copies logs to."""

import gzip
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from deploy.executions import listed, steps_of
from deploy.steps import Step, Tell, application_of, step_status
from superres.errors import ConfigError

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient
    from types_boto3_s3 import S3Client
    from types_boto3_stepfunctions import SFNClient

_LINES = 40


def find_execution(states: "SFNClient", machine: str, name: str | None) -> str:
    """The ARN of the execution of that name, or of the latest."""
    for execution in listed(states, machine):
        if name in (None, execution.name):
            return execution.arn
    if name is None:
        raise ConfigError("nothing has run yet; start something with make submit")
    raise ConfigError(f"EXECUTION={name}: no such execution; make status lists them")


def show_execution(
    states: "SFNClient", emr: "EMRClient", s3: "S3Client", arn: str, log_uri: str, tell: Tell
) -> None:
    """Tells how each step of an execution stands, and the logs of those that matter.

    Those that failed matter; if none did, the last one.
    """
    steps = [(label, step, step_status(emr, step)) for label, step in steps_of(states, arn)]
    if not steps:
        tell("no step was submitted; make status says how the execution stands")
        return
    for label, step, status in steps:
        tell(f"{label}: {status.told} ({step.id})")
    wanted = [each for each in steps if each[2].state == "FAILED"] or steps[-1:]
    for label, step, _ in wanted:
        tell(f"---- {label}")
        for line in step_log(s3, step, log_uri):
            tell(line)


def step_log(s3: "S3Client", step: Step, log_uri: str) -> Iterator[str]:
    """The last lines of a step: of its driver, in a container of YARN, if there is one."""
    base = f"{log_uri.rstrip('/')}/{step.cluster}"
    text = _read(s3, step.log(log_uri))
    if text is None:
        yield f"{step.log(log_uri)} is not there yet; EMR copies logs within five minutes"
        return
    application = application_of(text)
    drivers = _keys(s3, f"{base}/containers/{application}/") if application else []
    # The first container is the application master's, in which the driver runs. Without any, as in
    # the local cloud, the step itself is the driver: Spark's lines, then what the job says.
    found = {uri: _read(s3, uri) for uri in drivers if "_000001/" in uri}
    printed = step.log(log_uri, "stdout")
    for uri, said in (found or {step.log(log_uri): text, printed: _read(s3, printed)}).items():
        if said:
            yield uri
            yield from (f"  {line}" for line in said.splitlines()[-_LINES:])


def _read(s3: "S3Client", uri: str) -> str | None:
    bucket, key = _place(uri)
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    return content.decode("utf-8", "replace")


def _keys(s3: "S3Client", uri: str) -> list[str]:
    bucket, prefix = _place(uri)
    pages: Any = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [f"s3://{bucket}/{each['Key']}" for page in pages for each in page.get("Contents", [])]


def _place(uri: str) -> tuple[str, str]:
    # Terraform may say s3n://, as EMR's own console does.
    parts = urlsplit(uri)
    return parts.netloc, parts.path.lstrip("/")

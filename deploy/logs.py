"""``make logs``: the last lines of each step's log, from the bucket to which EMR copies logs."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from deploy.callbacks import Report
from deploy.executions import steps_of
from deploy.steps import Step, application_of, step_status, text_of_log
from superres.errors import ConfigError
from superres.service.executions import list_executions

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient
    from types_boto3_s3 import S3Client
    from types_boto3_stepfunctions import SFNClient

_LINES = 40


def find_execution(stepfunctions: "SFNClient", state_machine: str, name: str | None) -> str:
    """Returns the ARN of the execution of that name, or of the latest one."""
    for execution in list_executions(stepfunctions, state_machine):
        if name in (None, execution.name):
            return execution.arn
    if name is None:
        raise ConfigError("nothing has run yet; start something with make submit")
    raise ConfigError(f"EXECUTION={name}: no such execution; make status lists them")


def show_execution(
    stepfunctions: "SFNClient",
    emr: "EMRClient",
    s3: "S3Client",
    arn: str,
    log_uri: str,
    report: Report,
) -> None:
    """Reports the state of each step of an execution, and the logs of the failed ones.

    If no step failed, the log of the last one.
    """
    steps = [(label, step, step_status(emr, step)) for label, step in steps_of(stepfunctions, arn)]
    if not steps:
        report("no step was submitted; make status shows how the execution ended")
        return
    for label, step, status in steps:
        report(f"{label}: {status.summary} ({step.id})")
    wanted = [each for each in steps if each[2].state == "FAILED"] or steps[-1:]
    for label, step, _ in wanted:
        report(f"---- {label}")
        for line in step_log(s3, step, log_uri):
            report(line)


def step_log(s3: "S3Client", step: Step, log_uri: str) -> Iterator[str]:
    """Yields the last lines that a step wrote; its driver's, if that ran in a YARN container."""
    base = f"{log_uri.rstrip('/')}/{step.cluster}"
    text = _read(s3, step.log(log_uri))
    if text is None:
        yield f"{step.log(log_uri)} is not there yet; EMR copies logs within five minutes"
        return
    application = application_of(text)
    drivers = _keys(s3, f"{base}/containers/{application}/") if application else []
    # The first container is the application master's, in which the driver runs. Without any, as in
    # the local cloud, the step itself is the driver: Spark's lines, then what the job prints.
    found = {uri: _read(s3, uri) for uri in drivers if "_000001/" in uri}
    stdout = step.log(log_uri, "stdout")
    for uri, content in (found or {step.log(log_uri): text, stdout: _read(s3, stdout)}).items():
        if content:
            yield uri
            yield from (f"  {line}" for line in content.splitlines()[-_LINES:])


def _read(s3: "S3Client", uri: str) -> str | None:
    bucket, key = _bucket_and_key(uri)
    try:
        content = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            return None
        raise
    return text_of_log(content)


def _keys(s3: "S3Client", uri: str) -> list[str]:
    bucket, prefix = _bucket_and_key(uri)
    pages: Any = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [f"s3://{bucket}/{each['Key']}" for page in pages for each in page.get("Contents", [])]


def _bucket_and_key(uri: str) -> tuple[str, str]:
    # The scheme may be s3n://, as in EMR's own console.
    parts = urlsplit(uri)
    return parts.netloc, parts.path.lstrip("/")

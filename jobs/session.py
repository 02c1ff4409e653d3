"""The Spark session that every job runs in, and one-line reasons for its failures.

On EMR most configuration comes from the cluster. Elsewhere the same code runs on ``local[*]`` or a
standalone master, with S3A jars from Maven Central (``make jars``).
"""

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import SparkConf, SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from superres.errors import PrerequisiteError
from superres.pipeline import storage
from superres.pipeline.config import Settings

# Rows are images or tiles of megabytes, where Spark and Parquet expect rows of bytes.
_LARGE_ROWS = {
    # Default 4,096 rows: the vectorised reader would hold gigabytes.
    "spark.sql.parquet.columnarReaderBatchSize": "8",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "64",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(16 << 20),
    "spark.sql.parquet.filterPushdown": "false",
    # Each table is written once and read once: adaptive planning costs more than it saves.
    "spark.sql.adaptive.enabled": "false",
}
_ATTEMPTS = 4  # Spark's spark.task.maxFailures, which counts nothing for local masters
SPARK_ERRORS = (PySparkException, Py4JError, ConnectionError)
"""What calls of Spark raise; the last when its JVM is gone."""
_QUICK_TASKS = {"spark.python.daemon.module": "jobs.python_daemon"}  # see its docstring


def get_session(
    name: str, settings: Settings, extra: Mapping[str, str] | None = None
) -> SparkSession:
    """The running session, or a new one.

    Configuration given to spark-submit overrides ours, and ``extra`` overrides both.
    The master comes from ``extra``, spark-submit, or the environment's ``SPARK_MASTER``, in this
    order; without any, all cores of this machine. Raises ``PrerequisiteError`` when a directory is
    on S3 and Spark has no S3 connector.
    """
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    if _submitted():
        SparkContext._ensure_initialized()  # before this, SparkConf lacks what was given
    configured = SparkConf()
    submitted_to = configured.get("spark.master", "") if _submitted() else None
    defaults = _LARGE_ROWS | _QUICK_TASKS | storage_conf(settings, submitted_to)
    for key, value in defaults.items():
        # A JVM that we started ourselves still has the configuration of an earlier session.
        if not (_submitted() and configured.contains(key)):
            configured.set(key, value)
    for key, value in (extra or {}).items():
        configured.set(key, value)
    if not _submitted() and not configured.contains("spark.master"):
        configured.setMaster(os.environ.get("SPARK_MASTER", "local[*]"))
    configured.setMaster(with_retries(configured.get("spark.master", "local[*]")))
    session = SparkSession.builder.appName(name).config(conf=configured).getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    # Its thread prints a traceback when the JVM is gone, which the next call of Spark reports too.
    counters: Any = session.sparkContext._accumulatorServer
    counters.handle_error = lambda *_: None
    return session


def with_retries(master: str) -> str:
    """The master, where ``local[N]`` gets the four attempts that a task has on other masters.

    An image that ends its Python worker is found in the second one.
    """
    threads = re.fullmatch(r"local(?:\[([^,\]]+)\])?", master)
    return f"local[{threads[1] or 1},{_ATTEMPTS}]" if threads else master


def jars_folder() -> Path:
    """The folder of this checkout into which `make jars` fetches the S3A connector."""
    return Path(__file__).resolve().parents[1] / "scripts" / "spark" / "lib"


def storage_conf(settings: Settings, submitted_to: str | None) -> dict[str, str]:
    """Spark's configuration for the directories' file systems.

    ``submitted_to`` is the master that spark-submit was given; ``None`` if we start the JVM.
    """
    locations = settings.dataset.model_dump().values()
    buckets = {storage.bucket_of(uri) for uri in locations if storage.is_s3(uri)}
    if not buckets:
        # Tables are read by the run that wrote them; checksum files would cost a tenth of the time.
        # (On S3 the committer needs a file system with them.)
        return {"spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem"}
    conf: dict[str, str] = {}
    # The magic committer: without it Spark commits by renaming, which on S3 is copying. EMR, which
    # is YARN, has one of its own, and this setting would replace it by Spark's, which EMR lacks.
    # docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-spark-magic-commit-protocol.html
    if submitted_to != "yarn":
        conf |= {
            f"spark.hadoop.fs.s3a.bucket.{name}.committer.magic.enabled": "true" for name in buckets
        }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        conf |= {
            "spark.hadoop.fs.s3a.endpoint": endpoint,
            "spark.hadoop.fs.s3a.path.style.access": "true",
        }
    # Class paths cannot change once the JVM runs: EMR has a connector, and on another cluster
    # spark-submit must name one.
    return conf | _own_jvm_s3_conf() if submitted_to is None else conf


def _submitted() -> bool:
    """Whether spark-submit started the JVM, with a master of its own, before this process."""
    return "PYSPARK_GATEWAY_PORT" in os.environ


def _own_jvm_s3_conf() -> dict[str, str]:
    jars = jars_folder()
    if not any(jars.glob("hadoop-aws-*.jar")):
        raise PrerequisiteError(f"{jars}: no S3 connector for Spark there; run `make jars`")
    return {
        # The JVM keeps the file system of an earlier session on local folders.
        "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.LocalFileSystem",
        "spark.hadoop.fs.file.impl.disable.cache": "true",
        "spark.driver.extraClassPath": f"{jars}/*",
        "spark.executor.extraClassPath": f"{jars}/*",
        "spark.hadoop.fs.s3a.endpoint.region": os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    }


def spark_uri(uri: str) -> str:
    """The URI for Spark to write to; S3A is the connector here and on EMR."""
    if storage.is_s3(uri):
        return uri.replace("s3://", "s3a://", 1)
    return f"file://{Path(uri).absolute()}"


def spark_pattern(uri: str) -> str:
    """The URI for Spark to read, with brackets, braces and stars escaped: they are patterns."""
    return re.sub(r"([\[\]{}*?\\])", r"\\\1", spark_uri(uri))


def one_line_reason(error: BaseException) -> str:
    """The line of a Spark failure that a person can act on.

    A Python worker's exception arrives as a traceback inside a Java exception; the message of one
    of our own errors is at its end.
    """
    if isinstance(error, (Py4JNetworkError, ConnectionError)):
        return (
            "Spark's Java process is gone: killed, or out of memory; run it again, and it goes on "
            "with what is missing"
        )
    text = str(error)
    ours = re.findall(r"superres\.errors\.\w+: (.+)", text)
    if ours:
        return str(ours[-1]).strip()
    explained = _full_disk(text) or _unreadable_part(text) or _ended_worker(text)
    return explained or _last_error(error, text)


def _full_disk(text: str) -> str | None:
    """Of tables, or of what Spark puts aside; our own files name themselves."""
    reason = re.search(r"No space left on device|Disk quota exceeded|File too large", text)
    return reason and (
        f"{reason[0]} for the tables between the jobs (patches_dir, inference_result_dir) or for "
        "Spark's temporary files; free some, and run it again: it goes on with what is missing"
    )


def _last_error(error: BaseException, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"(Caused by: )?[\w.]*(Error|Exception)\b", line)]
    return (errors or lines or [type(error).__name__])[-1]


def _unreadable_part(text: str) -> str | None:
    """Of a table of ours, which lies below ``attempt=…``."""
    part = re.search(r"reading file (?:file://)?(\S[^\n]*/attempt=[^\n]*?)\.\s+SQLSTATE", text)
    if part is None:
        return None
    causes = re.findall(r"Caused by: (?:[\w$]+\.)*(?:\w+: )?(.+)", text)
    cause = f" ({causes[-1].strip()})" if causes else ""
    return (
        f"{part[1]}: cannot be read as it was written{cause}; start the run again, or, where jobs "
        "are submitted one by one, the job before this one"
    )


def _ended_worker(text: str) -> str | None:
    if "Python worker exited unexpectedly" not in text:
        return None
    times = re.search(r"failed (\d+) times", text)
    if times is None or times[1] == "1":
        return (
            "a Python worker ended while it worked on an image, and Spark must not try its task "
            f"again; allow {_ATTEMPTS} failures (spark.task.maxFailures, or a master "
            f"local[N,{_ATTEMPTS}]): the image is then found and rejected"
        )
    return (
        f"the Python worker of a task ended {times[1]} times, also with each image in a process of "
        "its own; is there enough memory? See the logs of the executors"
    )


def worker_device(device: str) -> str:
    """The device of this Python worker: ``cpu``, or the GPU that Spark assigned to its task.

    Raises ``PrerequisiteError`` when a GPU is configured and Spark assigned none.
    """
    if device == "cpu":
        return device
    from pyspark import TaskContext

    context: Any = TaskContext.get()
    resources = context.resources() if context is not None else {}
    if "gpu" not in resources:
        raise PrerequisiteError(
            "processing.device is cuda, but Spark assigned no GPU to the task; submit with "
            "--conf spark.task.resource.gpu.amount and spark.executor.resource.gpu.amount"
        )
    return f"cuda:{resources['gpu'].addresses[0]}"

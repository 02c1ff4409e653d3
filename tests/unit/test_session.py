"""The configuration of a Spark session, without Spark."""

import pytest

from jobs.session import one_line_reason, storage_conf, with_retries
from superres.pipeline.config import Settings
from superres.pipeline.layout import dataset_in

COMMITTER = "spark.hadoop.fs.s3a.bucket.work.committer.magic.enabled"


@pytest.mark.parametrize(
    ("master", "expected"),
    [("yarn", None), ("spark://127.0.0.1:7077", "true"), ("local[2]", "true")],
)
def test_a_job_submitted_to_yarn_leaves_the_committer_to_the_cluster(master, expected):
    """EMR has a committer of its own, and lacks the one that the setting would load."""
    conf = storage_conf(Settings(dataset=dataset_in("s3://work/data")), master)
    assert conf.get(COMMITTER) == expected


@pytest.mark.parametrize(
    ("master", "expected"),
    [
        ("local", "local[1,4]"),
        ("local[*]", "local[*,4]"),
        ("local[2]", "local[2,4]"),
        ("local[2,1]", "local[2,1]"),
        ("spark://127.0.0.1:7077", "spark://127.0.0.1:7077"),
        ("yarn", "yarn"),
    ],
)
def test_a_local_master_may_try_a_task_as_often_as_any_other(master, expected):
    assert with_retries(master) == expected


WORKER_ENDED = (
    "Job aborted due to stage failure: Task 0 in stage 1.0 failed {} times, most recent failure: "
    "Lost task 0.0 in stage 1.0: org.apache.spark.SparkException: Python worker exited unexpectedly"
    " (crashed)\n\tat org.apache.spark.api.python.BasePythonRunner\nCaused by: java.io.EOFException"
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (WORKER_ENDED.format(1), "allow 4 failures (spark.task.maxFailures"),
        (WORKER_ENDED.format(4), "the Python worker of a task ended 4 times"),
        (
            "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file "
            "s3a://b/run_id=2026-01-31-x2/patches/attempt=1-2-3/part-0.parquet.  SQLSTATE: KD001\n"
            "Caused by: org.apache.parquet.io.ParquetDecodingException: could not verify page\n",
            "s3a://b/run_id=2026-01-31-x2/patches/attempt=1-2-3/part-0.parquet: cannot be read as "
            "it was written (could not verify page); start the run again",
        ),
        (
            "Job aborted\nCaused by: java.io.IOException: No space left on device\n\tat x\n",
            "No space left on device for the tables between the jobs",
        ),
        (
            "superres.errors.StorageError: /r/a.png: cannot write: No space left on device; free "
            "some space and run it again\n\tat org.apache\n",
            "/r/a.png: cannot write: No space left on device; free some space and run it again",
        ),
        ("superres.errors.ModelError: no such file\n", "no such file"),
        ("some text\nCaused by: java.lang.Error: why\n", "Caused by: java.lang.Error: why"),
    ],
)
def test_the_reason_of_a_failure_is_one_line(text, line):
    reason = one_line_reason(Exception(text))
    assert line in reason
    assert "\n" not in reason

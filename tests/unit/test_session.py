"""The configuration of a Spark session, without Spark."""

import pytest

from jobs.session import storage_conf
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

"""A bit of all that the project's jobs do with Spark; `scripts/spark/class_archive.sh` runs it."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress

import pyarrow as pa
from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession


def same(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """A task in a Python worker."""
    yield from batches


session = SparkSession.builder.getOrCreate()
session.sparkContext.setLogLevel("OFF")
rows = session.range(10).mapInArrow(same, "id long")
with tempfile.TemporaryDirectory() as folder:
    rows.write.parquet(f"{folder}/table")
    session.read.parquet(f"{folder}/table").selectExpr("sum(id)", "count(*)").collect()
with suppress(PySparkException, Py4JError):  # nobody is there
    rows.write.parquet("s3a://nobody/table")
session.stop()

"""Tables of a run, each written to a new folder, so that runs cannot harm one another.

``{folder}/attempt={listed}-{written}-{owner}/`` is complete when Spark has written ``_SUCCESS``
there. A crashed attempt is never read, a second run at the same time writes beside the first, and
nothing is ever overwritten.

Readers take the newest complete attempt. ``listed`` is the moment before the images were listed;
a table made from another inherits it. So the newest attempt contains every image that is still
unfinished, whichever of two runs at the same time wrote it, and however long that took.
"""

from datetime import UTC, datetime

from pyspark.sql import DataFrame, SparkSession

from jobs.session import spark_pattern, spark_uri
from superres.errors import StorageError
from superres.pipeline import storage

# By default Parquet buffers by row count; our rows have megabytes.
_PARQUET = {
    "compression": "uncompressed",  # decoded photographs hardly shrink
    "parquet.enable.dictionary": "false",
    "parquet.page.write-checksum.enabled": "true",
    "parquet.block.size": str(64 << 20),
    "parquet.page.size.row.check.min": "1",
    "parquet.page.size.row.check.max": "4",
    "parquet.block.size.row.check.min": "1",
    "parquet.block.size.row.check.max": "4",
}


def new_attempt(folder: str, owner: str, source: str | None = None) -> str:
    """The URI for a table made from table ``source``, or from images listed after this call.

    ``owner`` is one of ``jobs.owners.new_owner``; an owner has one table at a time in a folder.
    """
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    listed = source.rsplit("/attempt=", 1)[1].split("-")[0] if source else now
    return storage.join(folder, f"attempt={listed}-{now}-{owner}")


def write_attempt(frame: DataFrame, target: str) -> None:
    """Writes a table to a URI of ``new_attempt``."""
    frame.write.options(**_PARQUET).parquet(spark_uri(target))


def newest_attempt(folder: str, made_by: str) -> str:
    """The newest complete attempt; raises ``StorageError`` naming the job that writes one."""
    attempts = {
        file.uri.rsplit("/", 1)[0]
        for file in storage.list_files(folder, hidden=True)
        if file.name == "_SUCCESS"
    }
    if not attempts:
        raise StorageError(
            f"{folder}: no complete table there; run {made_by} for this run_id first"
        )
    return max(attempts)


def read_attempt(session: SparkSession, uri: str) -> DataFrame:
    """Reads a table; a task fails where a page is not as it was written."""
    checked = session.read.option("parquet.page.verify-checksum.enabled", "true")
    return checked.parquet(spark_pattern(uri))


def totals(session: SparkSession, uri: str, *sums: str) -> dict[str, int]:
    """Sums over a written table, in SQL: counters of tasks would count a retried one twice."""
    (row,) = read_attempt(session, uri).selectExpr(*sums).collect()
    return row.asDict()


def read_whole_files(session: SparkSession, uri: str, *, split_at: int) -> DataFrame:
    """Reads a table with one task for each file, or for each ``split_at`` bytes of a larger one."""
    # Spark packs files into a task up to a size; with this opening cost only one file fits.
    session.conf.set("spark.sql.files.maxPartitionBytes", split_at)
    session.conf.set("spark.sql.files.openCostInBytes", split_at)
    return read_attempt(session, uri)

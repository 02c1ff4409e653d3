"""The jobs against ``s3://`` on LocalStack, through Spark's S3A connector."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from jobs.session import jars_folder
from superres import storage
from superres.errors import StorageError
from superres.images import Limits, decode
from superres.records import Evaluation
from tests.cloud import LocalCloud
from tests.conftest import make_place
from tests.test_jobs import photograph, take, upscaled, write_photograph
from tests.tools import require

pytestmark = [pytest.mark.spark, pytest.mark.localstack, pytest.mark.slow]
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def s3_client_of_this_test(aws_environment: LocalCloud) -> None:
    storage._s3_client.cache_clear()  # it may have been made for another endpoint


@pytest.mark.usefixtures("s3_client_of_this_test")
def test_four_jobs_from_bucket_to_bucket(
    aws_environment: LocalCloud, bucket: str, tmp_path: Path
) -> None:
    require("java", "make system-packages")
    jars = jars_folder()
    require("S3A jars", "make jars", found=any(jars.glob("hadoop-aws-*.jar")))
    place = make_place(f"s3://{bucket}/data")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    write_photograph(inbox / "one.png", photograph(101, 90, seed=1))
    write_photograph(inbox / "two.png", photograph(64, 130, channels=4, seed=2))
    (inbox / "bad.png").write_bytes(b"not an image")
    ids = take(inbox, place, mode="upscale")
    config = f"s3://{bucket}/config.yaml"
    storage.write_bytes(config, yaml.safe_dump(place.settings.model_dump()).encode())
    environment = os.environ | {
        "SPARK_MASTER": "local[2]",
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
        "SUPERRES_S3A_JARS": str(jars),
    }
    run_id = ("--run-id", place.layout.run_id)
    for job in ("mass_split", "batch_inference", "mass_reconstruct", "evaluate"):
        done = subprocess.run(
            [sys.executable, "-m", f"jobs.{job}", "--config", config, *run_id],
            capture_output=True,
            text=True,
            timeout=240,
            env=environment,
            cwd=ROOT,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert json.loads(done.stdout.splitlines()[-1])["job"] == job
    assert storage.exists(place.layout.rejection(ids["bad.png"]))
    for name in ("one.png", "two.png"):
        content = storage.read_bytes(place.layout.evaluation(ids[name]))
        record = Evaluation.model_validate_json(content)
        assert record.result.uri == place.layout.result(ids[name])
        result = decode(storage.read_bytes(record.result.uri), Limits(1 << 30, 1 << 30)).planes()
        assert np.array_equal(result, upscaled(str(inbox / name), place.settings))
    finished = storage.list_files(place.layout.patches, hidden=True)
    assert any(file.name == "_SUCCESS" for file in finished)


@pytest.mark.usefixtures("s3_client_of_this_test")
def test_storage_reads_writes_and_lists(bucket: str, tmp_path: Path) -> None:
    base = f"s3://{bucket}/folder"
    for name in ("a.txt", "sub/b.txt", "_temporary/c.txt"):
        storage.write_bytes(f"{base}/{name}", name.encode())
    storage.write_bytes(f"s3://{bucket}/folder-beside/d.txt", b"")
    assert [file.name for file in storage.list_files(base)] == ["a.txt", "b.txt"]
    assert storage.read_bytes(f"{base}/a.txt") == b"a.txt"
    assert storage.exists(f"{base}/a.txt")
    assert not storage.exists(f"{base}/a")
    with storage.staged(f"{base}/large.bin") as path:
        path.write_bytes(b"x" * 10)
        assert not storage.exists(f"{base}/large.bin")
    with storage.local_copy(f"{base}/large.bin") as path:
        assert path.read_bytes() == b"x" * 10
    with pytest.raises(ZeroDivisionError), storage.staged(f"{base}/half.bin") as path:
        path.write_bytes(bytes(1 // 0))
    assert not storage.exists(f"{base}/half.bin")
    storage.delete_tree(base)
    assert storage.list_files(base) == []
    assert storage.exists(f"s3://{bucket}/folder-beside/d.txt")
    with pytest.raises(StorageError, match="cannot read"):
        storage.read_bytes(f"{base}/a.txt")

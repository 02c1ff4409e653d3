"""The jobs as spark-submit files on a real standalone master and worker, from bucket to bucket."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyspark
import pytest
import yaml

from jobs.session import jars_folder
from jobs.standalone import Resources, local_conf, standalone_cluster
from superres.imaging.decoding import decode
from superres.imaging.limits import Limits
from superres.pipeline import storage
from superres.pipeline.records import Evaluation, RunManifest
from superres.pipeline.storage.s3 import forget_clients
from tests.conftest import make_run_setup
from tests.support.job_images import import_folder, textured_planes, upscaled, write_png
from tests.support.localstack import LocalCloud
from tests.support.paths import ROOT
from tests.support.required_tools import require
from tests.support.spark_commands import run_program

pytestmark = [pytest.mark.spark, pytest.mark.cluster, pytest.mark.localstack, pytest.mark.slow]


@pytest.fixture(scope="module")
def master(local_cloud: LocalCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster whose executors find the local cloud's S3 in their environment."""
    require("java", "make system-packages")
    folder = tmp_path_factory.mktemp("cluster")
    with pytest.MonkeyPatch.context() as patch:
        local_cloud.redirect_clients(patch)
        with standalone_cluster(Resources(2, 1536), folder) as url:
            yield url


def submit(
    master: str, job: str, *arguments: str, **conf: str
) -> "subprocess.CompletedProcess[str]":
    home = Path(pyspark.__file__).parent
    given = local_conf(master, executor_memory_mib=1024) | conf
    options = [f"--conf={key}={value}" for key, value in given.items()]
    command = [str(home / "bin" / "spark-submit"), *options]
    return run_program(
        [*command, str(ROOT / "jobs" / f"{job}.py"), *arguments], SPARK_HOME=str(home)
    )


def run_alone(job: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The job without spark-submit, in a session of its own."""
    return run_program([sys.executable, "-m", f"jobs.{job}", *arguments], SPARK_MASTER="local[2]")


def lines_of(done: "subprocess.CompletedProcess[str]", beginning: str) -> list[str]:
    """The job's output; spark-submit prints a Python program's stderr on its own stdout."""
    lines = (done.stdout + done.stderr).splitlines()
    assert not any(line.startswith("Traceback") for line in lines)
    return [line for line in lines if line.startswith(beginning)]


def printed_by(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """The line of JSON that a job prints at its end."""
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    line: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return line


def test_four_steps_from_bucket_to_bucket_and_one_fails_at_first(
    master: str, aws_environment: LocalCloud, bucket: str, tmp_path: Path
) -> None:
    require("S3A jars", "make jars", found=(jars_folder() / "spark.jsa").is_file())
    forget_clients()  # it may have been made for another endpoint
    run_setup = make_run_setup(f"s3://{bucket}/data")
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    write_png(inbox / "one.png", textured_planes(101, 90, seed=1))
    write_png(inbox / "two.png", textured_planes(64, 130, channels=4, seed=2))
    (inbox / "bad.png").write_bytes(b"not an image")
    ids = import_folder(inbox, run_setup)
    config, cuda = f"s3://{bucket}/config.yaml", f"s3://{bucket}/cuda.yaml"
    settings = run_setup.settings.model_dump()
    storage.write_bytes(config, yaml.safe_dump(settings).encode())
    settings["processing"]["device"] = "cuda"
    storage.write_bytes(cuda, yaml.safe_dump(settings).encode())

    def options(job: str, of: str = config) -> list[str]:
        report = f"s3://{bucket}/{job}.json"
        return ["--config", of, "--run-id", run_setup.layout.run_id, "--report", report]

    region = {"spark.hadoop.fs.s3a.endpoint.region": aws_environment.region}
    lines = {
        "mass_split": printed_by(submit(master, "mass_split", *options("mass_split"), **region))
    }
    done = submit(master, "batch_inference", *options("batch_inference", cuda), **region)
    assert done.returncode == 1
    (reason,) = lines_of(done, "batch_inference: ")
    assert "no GPU" in reason
    for job, run in (
        ("batch_inference", lambda *given: submit(master, *given, **region)),
        ("mass_reconstruct", run_alone),
        ("evaluate", run_alone),
    ):
        lines[job] = printed_by(run(job, *options(job)))
    for job, line in lines.items():
        assert json.loads(storage.read_bytes(f"s3://{bucket}/{job}.json")) == line
        assert line["job"] == job
        assert line["seconds"] > 0
        assert line.get("images", 2) == 2
    assert lines["mass_split"]["images"] == 2

    assert storage.exists(run_setup.layout.rejection(ids["bad.png"]))
    manifest = RunManifest.from_json(storage.read_bytes(run_setup.layout.manifest))
    assert manifest.counts == {"evaluate_images": 2, "evaluate_rejected": 0}
    for name in ("one.png", "two.png"):
        record = Evaluation.from_json(storage.read_bytes(run_setup.layout.evaluation(ids[name])))
        assert record.result.uri == run_setup.layout.result(ids[name])
        with storage.local_copy(f"{run_setup.layout.low_resolution}/{ids[name]}.png") as low:
            wanted = upscaled(str(low), run_setup.settings)
        result = storage.read_bytes(record.result.uri)
        assert np.array_equal(decode(result, Limits(1 << 30, 1 << 30)).planes(), wanted)
    finished = storage.list_files(run_setup.layout.patches, hidden=True)
    assert any(file.name == "_SUCCESS" for file in finished)


_TWO_SESSIONS = """
import sys
from jobs.session import get_session, spark_uri
from jobs.standalone import local_conf
from superres.pipeline.config import Settings
from superres.pipeline.layout import dataset_in

for folder in sys.argv[1:]:
    session = get_session("two", Settings(dataset=dataset_in(folder)), local_conf("local[1]"))
    table = spark_uri(f"{folder}/table")
    session.range(3).write.parquet(table)
    print(session.read.parquet(table).count())
    session.stop()
"""


def test_a_session_on_a_bucket_may_follow_one_on_folders(
    aws_environment: LocalCloud, bucket: str, tmp_path: Path
) -> None:
    done = run_program([sys.executable, "-c", _TWO_SESSIONS, str(tmp_path), f"s3://{bucket}"])
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["3", "3"]


def test_configuration_given_to_spark_submit_wins(tmp_path: Path) -> None:
    keys = [f"spark.sql.execution.arrow.max{what}PerBatch" for what in ("Records", "Bytes")]
    (tmp_path / "probe.py").write_text(
        "from jobs.session import get_session\n"
        "from superres.pipeline.config import Settings\n"
        "session = get_session('probe', Settings())\n"
        f"print([session.conf.get(key) for key in {keys}])\n"
    )
    done = submit("local[1]", str(tmp_path / "probe"), **{keys[0]: "7"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(["7", str(16 << 20)])


def test_a_wrong_configuration_is_one_line(master: str, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("processing:\n  upscale_factor: 5\n")
    done = submit(master, "mass_split", "--config", str(config), "--run-id", "2026-01-31-x2")
    assert done.returncode == 1
    lines = lines_of(done, "mass_split: ")
    assert len(lines) == 1
    assert "upscale_factor" in lines[0]
    assert "5" in lines[0]

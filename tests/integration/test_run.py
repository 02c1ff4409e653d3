"""`make run` as a person has it: photographs in a folder, at the end a gallery that shows them."""

import os
import socket
import subprocess
import sys

import pytest

from tests.support.example_gallery import sample
from tests.support.kafka_broker import Broker
from tests.support.paths import ROOT

MAKE_RUN = [sys.executable, "-m", "scripts.run"]


@pytest.mark.kafka
def test_a_source_that_is_not_there_ends_it_at_once(broker: Broker, tmp_path):
    environment = os.environ | {
        "SERVE": "no",
        "SOURCE": str(tmp_path / "nowhere"),
        "SUPERRES_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
    }
    done = subprocess.run(
        MAKE_RUN, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{tmp_path}/nowhere: no such file or folder" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"SCALE": "5"}, "make run: SCALE=5: choose 2, 3, 4"),
        ({"MODE": "enlarge"}, "make run: MODE=enlarge: choose evaluate, upscale"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_starts(variables, reason):
    done = subprocess.run(
        MAKE_RUN,
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"{reason}\n")


def test_a_port_for_uploads_that_is_in_use_is_named_with_a_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = os.environ | {
            "FOLLOW": "1",
            "SUPERRES_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "SUPERRES_INGESTION__UPLOAD_PORT": str(port),
        }
        done = subprocess.run(
            MAKE_RUN, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 2
    assert done.stderr.startswith(f"make run: port {port}, for uploads, is in use; ")
    assert f"SUPERRES_INGESTION__UPLOAD_PORT={port + 10} make run FOLLOW=1" in done.stderr


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"JAVA_HOME": "/nowhere"}, "make run: kafka: no Java found (/nowhere/bin/java)"),
        (
            {"SUPERRES_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1", "SOURCE": "samples:"},
            "superres: Kafka at 127.0.0.1:1 does not answer",
        ),
    ],
)
def test_what_keeps_kafka_from_starting_is_printed(variables, reason, tmp_path):
    environment = {**os.environ, "SERVE": "no", "KAFKA_DATA_DIR": str(tmp_path / "kafka")}
    environment.pop("SUPERRES_KAFKA__BOOTSTRAP_SERVERS", None)
    done = subprocess.run(
        MAKE_RUN,
        cwd=ROOT,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.kafka
@pytest.mark.spark
@pytest.mark.slow
def test_photographs_in_a_folder_end_in_the_gallery(broker: Broker, tmp_path):
    photographs = tmp_path / "my photographs"
    photographs.mkdir()
    for number in range(2):
        content, name = sample(number, 160)
        (photographs / name).write_bytes(content)
    (photographs / "broken.jpg").write_bytes(b"no photograph")
    folders = {
        "DATASET__HIGH_RESOLUTION_DIR": "high",
        "DATASET__LOW_RESOLUTION_DIR": "low",
        "DATASET__PATCHES_DIR": "work",
        "DATASET__INFERENCE_RESULT_DIR": "work",
        "DATASET__RECONSTRUCTED_IMAGES_DIR": "results",
        "INGESTION__UPLOADS_DIR": "uploads",
        "NOTIFIER__CACHE_DIR": "cache",
    }
    environment = os.environ | {
        "SERVE": "no",
        "SOURCE": str(photographs),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SUPERRES_KAFKA__BOOTSTRAP_SERVERS": broker.bootstrap,
        "SUPERRES_NOTIFIER__DATABASE_URL": f"sqlite:///{tmp_path}/notifier.db",
        "SUPERRES_NOTIFIER__PORT": "0",
        **{f"SUPERRES_{key}": str(tmp_path / name) for key, name in folders.items()},
    }
    done = subprocess.run(
        MAKE_RUN, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    # One was rejected, and the others were not held up by it.
    assert done.returncode == 3, done.stdout + done.stderr
    assert "2 images stored, 1 rejected" in done.stdout + done.stderr
    assert "Gallery checked: 2 images at http://127.0.0.1:" in done.stdout
    assert len(list((tmp_path / "results" / "images").rglob("*.png"))) == 2
    (collected,) = (tmp_path / "results" / "collected").iterdir()
    names = {path.stem for path in photographs.iterdir()}
    assert {path.stem for path in collected.glob("*.png")} == names - {"broken"}
    assert "broken.jpg" in (collected / "results.csv").read_text()
    assert f"Results  {collected}\n" in done.stdout

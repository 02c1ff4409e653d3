"""The commands of ingestion: output, errors and exit codes, with a real broker."""

import json
import os
import pty
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from superres.pipeline import storage
from superres.service.supervisor import free_port
from tests.support.http_server import HttpServer, until
from tests.support.image_files import photo, pillow
from tests.support.ingestion_processes import all_messages
from tests.support.kafka_broker import PATIENCE
from tests.support.processes import SUPERRES, Service
from tests.support.source_reading import WANTED


def superres(folder: Path, settings: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """The exit code, output and errors of a command that runs to its end."""
    done = subprocess.run(
        [SUPERRES, *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), **settings},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


@pytest.mark.kafka
@pytest.mark.parametrize("command", [("produce", "."), ("ingest", "."), ("consume",)])
def test_an_unknown_topic_is_reported_in_one_line(broker, tmp_path, command):
    settings = broker.environment | {"SUPERRES_KAFKA__TOPIC": "misspelt"}
    code, output, complaint = superres(tmp_path, settings, *command)
    assert (code, output) == (1, "")
    assert "has no topic 'misspelt'; create it" in only_line(complaint)


@pytest.mark.kafka
@pytest.mark.parametrize("command", ["produce", "ingest"])
def test_an_unknown_source_is_reported_in_one_line(broker, tmp_path, command):
    code, output, complaint = superres(tmp_path, broker.environment, command, "ftp://a/b")
    assert (code, output) == (1, "")
    assert only_line(complaint).startswith("superres: ftp://a/b: unknown kind of source")
    assert superres(tmp_path, broker.environment, command)[0] == 2


@pytest.mark.kafka
def test_a_taken_port_is_reported_in_one_line(broker, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        settings = broker.environment | {"SUPERRES_INGESTION__CONSUMER_PORT": port}
        code, _, complaint = superres(tmp_path, settings, "consume")
    assert code == 1
    assert only_line(complaint).startswith(f"superres: port {port} of 127.0.0.1")


@pytest.mark.slow
def test_a_missing_broker_is_reported_in_one_line(tmp_path):
    settings = {"SUPERRES_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    start = time.monotonic()
    code, output, complaint = superres(tmp_path, settings, "produce", ".")
    assert (code, output) == (1, "")
    assert "does not answer" in only_line(complaint)
    assert time.monotonic() - start < 40


@pytest.mark.kafka
def test_a_list_with_bad_lines_publishes_the_others_and_exits_with_3(broker, tmp_path):
    topic = broker.create_topic(partitions=1)
    (tmp_path / "list.txt").write_text("https://example.org/a.jpg\nnonsense\n")
    settings = broker.environment | {
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__DEAD_LETTER_TOPIC": topic,
    }
    code, output, complaint = superres(tmp_path, settings, "produce", "list.txt")
    assert (code, output) == (3, f"1 references published on {topic}\n")
    assert "list.txt, line 2" in only_line(complaint)


@pytest.mark.kafka
@pytest.mark.parametrize("good", [True, False])
def test_ingest_stores_all_images_and_reports_rejections(broker, tmp_path, good):
    topic = broker.create_topic(partitions=2)
    with HttpServer() as server:
        server.serve("/a.gif", b"GIF89a\1\0\1\0\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;")
        lines = [server.url("/a.gif")] + ([] if good else [server.url("/missing.png")])
        (tmp_path / "list.txt").write_text("\n".join(lines))
        settings = broker.environment | {
            "SUPERRES_KAFKA__TOPIC": topic,
            "SUPERRES_KAFKA__GROUP": topic,
            "SUPERRES_INGESTION__CONSUMER_PORT": "0",
            "SUPERRES_INGESTION__ALLOWED_HOSTS": json.dumps([server.host]),
        }
        command = ("ingest", "list.txt", "--mode", "upscale")
        code, output, complaint = superres(tmp_path, settings, *command)
    if good:
        assert (code, output) == (0, "1 images stored\n"), complaint
    else:
        printed = "1 images stored, 1 rejected: see rejected/ below the results\n"
        assert (code, output) == (3, printed), complaint
    assert len(storage.list_files(str(tmp_path / "data" / "low_resolution"))) == 2
    assert len(storage.list_files(str(tmp_path / "data" / "results"))) == (not good)


@pytest.mark.kafka
def test_until_idle_ends_when_all_is_finished(broker, tmp_path):
    topic = broker.create_topic(partitions=2)
    settings = broker.environment | {
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__GROUP": topic,
        "SUPERRES_INGESTION__CONSUMER_PORT": "0",
    }
    broker.send(topic, b"nonsense")
    code, output, _ = superres(tmp_path, settings, "consume", "--until-idle")
    assert (code, output) == (0, "0 images stored, 1 rejected\n")
    assert superres(tmp_path, settings, "consume", "--until-idle")[1].startswith("0 images")


@pytest.mark.kafka
def test_a_repeated_image_is_counted_once(broker, tmp_path):
    topic = broker.create_topic(partitions=1)
    with HttpServer() as server:
        url = server.serve("/a.png", pillow(photo(20, 30), "PNG"))
        reference = WANTED.reference("a", url, "test").to_message().encode()
        broker.send(topic, reference, reference)
        settings = broker.environment | {
            "SUPERRES_KAFKA__TOPIC": topic,
            "SUPERRES_KAFKA__GROUP": topic,
            "SUPERRES_INGESTION__CONSUMER_PORT": "0",
            "SUPERRES_INGESTION__THREADS": "1",
            "SUPERRES_INGESTION__ALLOWED_HOSTS": json.dumps([server.host]),
        }
        code, output, complaint = superres(tmp_path, settings, "consume", "--until-idle")
    assert (code, output) == (0, "1 images stored, 0 rejected\n"), complaint


@pytest.fixture
def service(broker: Any, tmp_path: Path) -> Iterator[tuple[Service, dict[str, str]]]:
    """A consumer with the only partition of its topic, and its environment variables."""
    topic = broker.create_topic(partitions=1)
    dead = broker.create_topic(partitions=1)
    settings = broker.environment | {
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__DEAD_LETTER_TOPIC": dead,
        "SUPERRES_KAFKA__GROUP": topic,
        "SUPERRES_INGESTION__CONSUMER_PORT": str(free_port()),
    }
    running = Service(["consume"], settings, tmp_path / "service")
    try:
        until(running.ready, PATIENCE)
        yield running, settings
    finally:
        running.kill()


@pytest.mark.kafka
def test_until_idle_ends_beside_a_consumer_that_has_every_partition(broker, tmp_path, service):
    _, settings = service
    broker.send(settings["SUPERRES_KAFKA__TOPIC"], b"nonsense")
    own = settings | {"SUPERRES_INGESTION__CONSUMER_PORT": "0"}
    code, output, complaint = superres(tmp_path, own, "consume", "--until-idle")
    assert (code, output) == (0, "0 images stored, 0 rejected\n"), complaint


@pytest.mark.kafka
def test_ingest_and_a_running_consumer_do_not_disturb_each_other(broker, tmp_path, service):
    running, settings = service
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(pillow(photo(20, 30), "PNG"))
    code, output, complaint = superres(tmp_path, settings, "ingest", "~/pictures")
    assert (code, output) == (0, "1 images stored\n"), complaint
    # The next message on the only partition is rejected, and nothing else was.
    broker.send(settings["SUPERRES_KAFKA__TOPIC"], b"nonsense")
    until(lambda: running.metric("rejected_total") == 1, PATIENCE)
    assert running.metric("messages_total") == 1
    assert len(all_messages(broker, settings["SUPERRES_KAFKA__DEAD_LETTER_TOPIC"], 1)) == 1


@pytest.mark.kafka
@pytest.mark.parametrize("command", ["produce", "ingest"])
def test_on_a_terminal_a_progress_bar_is_shown(broker, tmp_path, command):
    topic = broker.create_topic(partitions=2)
    settings = broker.environment | {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__GROUP": topic,
        "SUPERRES_INGESTION__CONSUMER_PORT": "0",
    }
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [SUPERRES, command, "samples:", "--mode", "upscale"],
        env=settings,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # EIO: no process has the terminal open any more
        while part := os.read(ours, 4096):
            shown += part
    os.close(ours)
    output, _ = done.communicate(timeout=60)
    assert done.returncode == 0, shown
    assert output.startswith(b"8 ")
    assert b"Traceback" not in shown
    assert (b"Publishing" if command == "produce" else b"Ingesting") in shown


@pytest.mark.kafka
def test_ingest_ignores_older_messages_on_the_topic(broker, tmp_path):
    topic = broker.create_topic(partitions=2)
    settings = broker.environment | {
        "SUPERRES_KAFKA__TOPIC": topic,
        "SUPERRES_KAFKA__GROUP": topic,
        "SUPERRES_INGESTION__CONSUMER_PORT": "0",
    }
    broker.send(topic, b"one", b"another")
    code, output, complaint = superres(tmp_path, settings, "ingest", "samples:")
    assert (code, output) == (0, "8 images stored\n"), complaint

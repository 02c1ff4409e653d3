"""The scripts that start and stop the Kafka broker."""

import os
import re
import shutil
import socket
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from superres.service.supervisor import free_port
from tests.support.kafka_broker import PATIENCE, Broker, unstarted_broker
from tests.support.paths import ROOT

pytestmark = pytest.mark.kafka


@pytest.fixture
def idle(tmp_path: Path) -> Broker:
    """A broker that was not started."""
    return Broker(free_port(), free_port(), tmp_path)


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


# ---- a running broker


def test_the_first_start_creates_both_topics(broker):
    topics = broker.topics()
    assert topics["images-topic"] == topics["images-topic-dead-letter"] == 3


def test_a_second_start_only_creates_missing_topics(broker):
    topic = broker.create_topic(partitions=1)
    pid = broker.start()
    again = broker.script(
        "start", KAFKA_TOPIC=topic, KAFKA_PARTITIONS="2", KAFKA_PORT=str(free_port())
    )
    assert again.returncode == 0, again.stderr
    for text in (f"pid {pid}", broker.bootstrap, topic, "broker.log", str(broker.folder / "data")):
        assert text in again.stdout
    topics = broker.topics()
    assert (topics[topic], topics[f"{topic}-dead-letter"]) == (1, 2)


def test_iam_cannot_be_enabled_while_the_broker_runs(broker):
    refused = broker.script("start", KAFKA_IAM_PORT=str(free_port()))
    assert refused.returncode == 1
    assert "runs without IAM; stop it first" in only_line(refused.stderr)
    assert not broker.ca_file.exists()


def test_a_misspelt_topic_is_not_created(broker):
    from confluent_kafka import KafkaError, Producer

    producer = Producer({"bootstrap.servers": broker.bootstrap})
    # Would create it if the broker's auto.create.topics.enable were on.
    listed = producer.list_topics("images-topik", timeout=PATIENCE)
    assert listed.topics["images-topik"].error == KafkaError.UNKNOWN_TOPIC_OR_PART
    assert "images-topik" not in broker.topics()


def test_the_broker_listens_on_one_loopback_address_only(broker):
    for port in (broker.port, broker.controller_port):
        with socket.socket() as client:
            client.settimeout(5)
            # A server on all interfaces would accept connections to every 127.x.x.x.
            with pytest.raises(OSError, match=r"refused|unreachable|assign"):
                client.connect(("127.0.0.2", port))


def test_a_stop_keeps_topics_and_messages(broker):
    topic = broker.create_topic()
    values = [f"message {n}".encode() for n in range(20)]
    broker.send(topic, *values)
    try:
        broker.stop()
        assert not broker.listens()
        again = broker.script("stop")
        assert (again.returncode, again.stdout) == (0, "Kafka is not running\n")
    finally:
        pid = broker.start()
    assert sorted(broker.received(topic, 20)) == sorted(values)
    assert "images-topic" in broker.topics()
    # Its classes come from the archive that the very first start has written.
    archive = rf"{re.escape(str(ROOT))}/scripts/kafka/lib/kafka-[^/ ]+\.jsa$"
    assert re.search(archive, Path(f"/proc/{pid}/maps").read_text(), re.MULTILINE)


@pytest.mark.slow
def test_a_killed_broker_restarts_with_all_acknowledged_messages(broker):
    from confluent_kafka import Consumer, TopicPartition

    topic = broker.create_topic(partitions=1)
    values = [f"message {n}".encode() for n in range(20)]
    broker.send(topic, *values)
    group = {"bootstrap.servers": broker.bootstrap, "group.id": topic}
    consumer = Consumer(group)
    consumer.commit(offsets=[TopicPartition(topic, 0, 7)], asynchronous=False)
    consumer.close()

    broker.kill()
    broker.start()

    assert broker.received(topic, 20) == values
    consumer = Consumer(group)
    (committed,) = consumer.committed([TopicPartition(topic, 0)], timeout=PATIENCE)
    consumer.close()
    assert committed.offset == 7
    broker.send(topic, b"one more")
    assert broker.received(topic, 21)[-1] == b"one more"


@pytest.mark.slow
def test_the_port_may_change_between_starts(broker):
    topic = broker.create_topic()
    broker.send(topic, b"kept")
    broker.stop()
    moved = replace(broker, port=free_port(), controller_port=free_port())
    try:
        moved.start()
        assert moved.received(topic, 1) == [b"kept"]
    finally:
        moved.stop()
        broker.start()


# ---- a broker that cannot start


@pytest.mark.parametrize("which", ["port", "controller_port", "iam_port"])
def test_a_taken_port_is_named_with_the_remedy(tmp_path, which):
    unstarted = unstarted_broker(tmp_path)  # skips where Java or Maven is missing
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        refused = replace(unstarted, **{which: port}).script("start")
    assert refused.returncode == 1
    line = only_line(refused.stderr)
    assert f"port {port}" in line
    assert "KAFKA_PORT=" in line
    assert ("KAFKA_IAM_PORT=" in line) == (which == "iam_port")


def test_an_invalid_region_is_reported(idle):
    refused = idle.script("start", KAFKA_IAM_REGION="eu central")
    assert refused.returncode == 1
    assert "KAFKA_IAM_REGION: eu central" in only_line(refused.stderr)


def test_a_stale_pid_file_harms_no_other_process(idle):
    (idle.folder / "broker.pid").write_text(f"{os.getpid()}\n")
    stopped = idle.script("stop")  # a signal would end this test session
    assert (stopped.returncode, stopped.stdout) == (0, "Kafka is not running\n")
    assert not (idle.folder / "broker.pid").exists()


def fake_java(home: Path, version: str) -> Path:
    java = home / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)
    return home


def test_a_missing_or_old_java_is_named_with_the_remedy(idle, tmp_path):
    missing = idle.script("start", JAVA_HOME=str(tmp_path / "nowhere"))
    old = idle.script("start", JAVA_HOME=str(fake_java(tmp_path / "old", "11.0.2")))
    ancient = idle.script("start", JAVA_HOME=str(fake_java(tmp_path / "ancient", "1.8.0_392")))
    assert missing.returncode == old.returncode == ancient.returncode == 1
    assert "no Java found" in only_line(missing.stderr)
    assert "is Java 11" in only_line(old.stderr)
    for refused in (missing, old, ancient):
        assert "apt-get install openjdk-17" in only_line(refused.stderr)


def test_a_missing_maven_is_named_with_the_remedy(tmp_path):
    project = tmp_path / "project"
    shutil.copytree(
        ROOT / "scripts", project / "scripts", ignore=shutil.ignore_patterns("lib", "__pycache__")
    )
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "mkdir"):
        (tools / tool).symlink_to(shutil.which(tool) or tool)
    refused = subprocess.run(
        [project / "scripts" / "kafka" / "start.sh"],
        env={"PATH": str(tools), "JAVA_HOME": str(fake_java(tmp_path / "java", "17.0.1"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode == 1
    assert "mvn not found; install Maven" in only_line(refused.stderr)

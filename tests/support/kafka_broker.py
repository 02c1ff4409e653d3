"""A real Kafka broker for tests; conftest.py lists this module in `pytest_plugins`.

`broker` is one broker for the whole test session, on free ports and in its own folder, so it
disturbs neither `make kafka-up` nor another test session. Each test creates its own topic:

    def test_something(broker):
        topic = broker.create_topic(partitions=2)
        broker.send(topic, b"one", b"two")
        assert sorted(broker.received(topic, 2)) == [b"one", b"two"]

A test that stops or kills the session's broker must start it again, at the same address.
confluent_kafka is imported where it is used, so that collecting the tests does not need it.
"""

import os
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from superres.service.supervisor import free_port
from tests.support.paths import ROOT
from tests.support.required_tools import require

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

# The first consumer of a fresh broker waits for the broker's own topics.
PATIENCE: Final = 120.0  # seconds; a bound for a machine that is busy with other tests
IAM_REGION: Final = "eu-central-1"


@dataclass(frozen=True)
class Broker:
    """A broker that may run or not, as the scripts in `scripts/kafka/` see it."""

    port: int
    controller_port: int
    folder: Path
    iam_port: int | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def iam_bootstrap(self) -> str:
        """The bootstrap servers for clients that authenticate with IAM, in `IAM_REGION`."""
        return f"127.0.0.1:{self.iam_port}"

    @property
    def ca_file(self) -> Path:
        """The certificate that these clients trust."""
        return self.folder / "ca.pem"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point `superres` commands at this broker."""
        return {"SUPERRES_KAFKA__BOOTSTRAP_SERVERS": self.bootstrap}

    # ---- the process

    def script(self, name: str, **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run scripts/kafka/NAME.sh for this broker and return its result."""
        ours = {
            "KAFKA_PORT": str(self.port),
            "KAFKA_CONTROLLER_PORT": str(self.controller_port),
            "KAFKA_DATA_DIR": str(self.folder),
            "KAFKA_HEAP": "256m",
        }
        if self.iam_port is not None:
            ours |= {"KAFKA_IAM_PORT": str(self.iam_port), "KAFKA_IAM_REGION": IAM_REGION}
        users = {name: text for name, text in os.environ.items() if not name.startswith("KAFKA_")}
        return subprocess.run(
            [str(ROOT / "scripts" / "kafka" / f"{name}.sh")],
            env=users | ours | settings,
            capture_output=True,
            text=True,
            timeout=300,  # the very first start downloads Kafka
            check=False,
        )

    def start(self) -> int:
        """Start it unless it runs already; returns its pid."""
        done = self.script("start")
        assert done.returncode == 0, done.stdout + done.stderr
        match = re.search(r"pid (\d+)", done.stdout)
        assert match, done.stdout
        return int(match[1])

    def stop(self) -> None:
        done = self.script("stop")
        assert done.returncode == 0, done.stdout + done.stderr

    def kill(self) -> None:
        """Kill it: like a power cut, except that the system still writes its cached data."""
        os.kill(int((self.folder / "broker.pid").read_text()), signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE
        while self.listens():
            assert time.monotonic() < deadline, "a killed broker still listens"
            time.sleep(0.05)

    def listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    # ---- topics and messages

    def admin(self) -> "AdminClient":
        from confluent_kafka.admin import AdminClient

        return AdminClient({"bootstrap.servers": self.bootstrap})

    def topics(self) -> dict[str, int]:
        """Every topic with its number of partitions."""
        found = self.admin().list_topics(timeout=PATIENCE).topics
        return {name: len(topic.partitions) for name, topic in found.items()}

    def create_topic(self, name: str | None = None, partitions: int = 3) -> str:
        """Create a topic, by default with a unique name; returns the name."""
        from confluent_kafka.cimpl import NewTopic  # its type stub knows it here only

        name = name or f"test-{uuid.uuid4().hex[:12]}"
        topic = NewTopic(name, num_partitions=partitions, replication_factor=1)
        admin = self.admin()  # must live until the request is finished
        admin.create_topics([topic])[name].result(timeout=PATIENCE)
        return name

    def send(self, topic: str, *values: bytes) -> None:
        """Send messages to a topic; returns once the broker has acknowledged all of them."""
        from confluent_kafka import KafkaException, Producer

        def delivered(error, _message):
            if error is not None:
                failures.append(error)

        failures: list[object] = []
        producer = Producer({"bootstrap.servers": self.bootstrap, "acks": "all"})
        for value in values:
            producer.produce(topic, value, on_delivery=delivered)
        left = producer.flush(PATIENCE)
        if failures or left:
            raise KafkaException(failures or f"{left} messages were not acknowledged")

    def received(self, topic: str, count: int) -> list[bytes]:
        """The first `count` messages of a topic; their order across partitions is undefined.

        Fewer when no more arrive within half a minute.
        """
        from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": f"test-{uuid.uuid4().hex}",  # required, but nothing is committed
                "enable.auto.commit": False,
            }
        )
        try:
            partitions = range(self.topics()[topic])
            consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in partitions])
            values: list[bytes] = []
            deadline = time.monotonic() + PATIENCE
            while len(values) < count and time.monotonic() < deadline:
                message = consumer.poll(0.5)
                if message is not None and message.error() is None:
                    values.append(message.value() or b"")
            return values
        finally:
            consumer.close()


def unstarted_broker(folder: Path) -> Broker:
    """Choose free ports for a broker in `folder`; skips where Java or Maven is missing."""
    require("java", "make system-packages")
    fetched = (ROOT / "scripts" / "kafka" / "lib" / ".fetched").exists()
    require("mvn", "make system-packages", found=True if fetched else None)
    return Broker(free_port(), free_port(), folder)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """One running broker for the whole session, with the default topics."""
    yield from _running(unstarted_broker(tmp_path_factory.mktemp("kafka")))


@pytest.fixture(scope="session")
def iam_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Another broker, with a listener for clients that authenticate with IAM."""
    broker = unstarted_broker(tmp_path_factory.mktemp("kafka-iam"))
    yield from _running(replace(broker, iam_port=free_port()))


def _running(broker: Broker) -> Iterator[Broker]:
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()

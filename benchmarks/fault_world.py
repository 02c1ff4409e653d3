"""A running pipeline for random faults: broker, producer, consumers, jobs, notifier, receiver.

Each command runs in a slot. A command that has ended, for whatever reason, is started again, as a
service manager would.
"""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil

from superres.pipeline import storage
from superres.pipeline.records import Mode, image_id_of
from superres.service.supervisor import free_port
from tests.support.http_server import until
from tests.support.image_files import not_images, photo, pillow, truncated
from tests.support.ingestion_processes import World
from tests.support.kafka_broker import PATIENCE
from tests.support.processes import Service
from tests.support.webhook_receiver import Receiver

_TOKEN = "for-random-faults-" + "0" * 16
HOOK = "/hook"
_PER_PAGE = 100
_FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "WEBP": {"lossless": True},
}
# Java classes and modules of the processes below `superres run`.
SPARK_PARTS = {
    "Spark master": "deploy.master.Master",
    "Spark worker": "deploy.worker.Worker",
    "executor": "CoarseGrainedExecutorBackend",
    "Python worker": "jobs.python_daemon",
}


@dataclass
class Slot:
    """A command that is kept running.

    Attributes:
        arguments: gives the command for the next start.
        exits: how often it ended with each exit code.
    """

    name: str
    arguments: Callable[[], list[str]]
    service: Service | None = None
    exits: Counter[int] = field(default_factory=Counter)

    @property
    def process(self) -> psutil.Process | None:
        """Its running process."""
        if self.service is None or not self.service.running:
            return None
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.service.pid)
        return None


class Pipeline:
    """All parts of the pipeline, kept running until the block ends.

    Attributes:
        world: topic, HTTP source and consumers' settings; ``world.base`` is where images lie.
        receiver: gets the webhooks.
    """

    def __init__(self, world: World, rng: random.Random) -> None:
        self.world = world
        self.receiver = Receiver()
        self.good: dict[str, bytes] = {}
        self.bad: set[str] = set()
        self._rng = rng
        self._port = free_port()
        self._lists: list[Path] = []
        self._lines: list[str] = []
        self._lock = Lock()
        self._ended = Event()
        self._keeper = Thread(target=self._keep_running, name="keeper", daemon=True)
        self.slots = [
            Slot("producer", self._next_list),
            Slot("consumer 1", lambda: ["consume"]),
            Slot("consumer 2", lambda: ["consume"]),
            Slot("notifier", lambda: ["notify", "--port", str(self._port)]),
            Slot("jobs", self._next_jobs),
        ]

    def __enter__(self) -> "Pipeline":
        self.receiver.__enter__()
        self.world.options |= {
            "DATASET__PATCHES_DIR": f"{self.world.base}/work",
            "DATASET__INFERENCE_RESULT_DIR": f"{self.world.base}/work",
            "PROCESSING__PATCH_SIZE": "64",
            "INGESTION__MODE": "upscale",
            "INGESTION__ATTEMPTS": "5",
            "NOTIFIER__ALLOWED_HOSTS": f"[{json.dumps(self.receiver.host)}]",
            "NOTIFIER__DATABASE_URL": f"sqlite:///{self.world.scratch}/notifier.db",
            "NOTIFIER__CACHE_DIR": f"{self.world.scratch}/cache",
            "NOTIFIER__RESCAN_SECONDS": "10",
            "NOTIFIER__WEBHOOK_SECONDS": "5",
            "NOTIFIER__WEBHOOK_RETRY_SECONDS": "1",
            "NOTIFIER_TOKEN": _TOKEN,
            "LOCAL_DIR": str(self.world.scratch / "local"),
        }
        self._keeper.start()
        until(self._subscribed, PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._keeper.join(PATIENCE)
        for slot in self.slots:
            if slot.process is not None and slot.service is not None:
                slot.service.thaw()
                slot.service.terminate()
        for slot in self.slots:
            if slot.service is not None:
                with suppress(Exception):
                    slot.service.wait(PATIENCE)
        self.receiver.__exit__()

    # ---- images

    def offer(self, count: int) -> None:
        """Serves new images, about one in ten of them bad, and lists them for the producer."""
        with self._lock:
            for _ in range(count):
                self._lines.append(self._offer_one())

    def _offer_one(self) -> str:
        number = len(self.good) + len(self.bad)
        mode: Mode = self._rng.choice(["evaluate", "upscale"])
        kind = self._rng.random()
        how: dict[str, Any] = {}
        if kind < 0.1:
            path, content = self._bad_image(number)
            how = {"status": 404} if content is None else {}
        else:
            name = self._rng.choice(sorted(_FORMATS))
            height, width = self._rng.randint(24, 200), self._rng.randint(24, 200)
            content = pillow(photo(height, width, seed=number), name, **_FORMATS[name])
            path = f"/photo-{number}.{name.lower()}"
            if kind < 0.3:
                how = {"fail_first": self._rng.randint(1, 2), "fail_status": 503}
            elif kind < 0.4:
                how = {"hold_seconds": self._rng.uniform(0, 3)}
        url = self.world.source.serve(path, content or b"", **how)
        image_id = image_id_of(mode, 2, url)
        if kind < 0.1:
            self.bad.add(image_id)
        else:
            self.good[image_id] = content or b""
        return json.dumps({"url": url, "mode": mode})

    def _bad_image(self, number: int) -> tuple[str, bytes | None]:
        files = {**truncated(), **not_images()}
        name = self._rng.choice([*sorted(files), "missing"])
        return f"/bad-{number}-{name}", files.get(name)

    # ---- commands

    def _next_list(self) -> list[str]:
        """All images so far; most were published before, and must not be stored again."""
        with self._lock:
            lines = self._lines[-200:]
            self._rng.shuffle(lines)
        path = self.world.scratch / f"list-{len(self._lists)}.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        self._lists.append(path)
        return ["produce", str(path), "--rate", "20"]

    def _next_jobs(self) -> list[str]:
        return ["run", *self._rng.choice([[], ["--fused"], ["--follow"]])]

    def _keep_running(self) -> None:
        while not self._ended.wait(0.2):
            for slot in self.slots:
                if slot.service is not None and slot.service.running:
                    continue
                if slot.service is not None:
                    slot.exits[slot.service.wait(1)] += 1
                if slot.name == "jobs" and not self.world.stored():
                    slot.service = None  # it would only say that there is nothing to do
                    continue
                slot.service = self.world.start(*slot.arguments())

    def spark_processes(self, part: str) -> list[psutil.Process]:
        """The processes of a part of Spark, below the jobs."""
        (jobs,) = [slot for slot in self.slots if slot.name == "jobs"]
        return [each for each in _below(jobs.process) if SPARK_PARTS[part] in _command(each)]

    def left_behind(self) -> list[str]:
        """Processes of this pipeline that still run though nothing of it should."""
        ours = str(self.world.scratch)
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid != psutil.Process().pid and ours in process.environ().get(
                    "SUPERRES_LOCAL_DIR", ""
                ):
                    found.append(f"{process.pid} {_command(process)[:100]}")
        return found

    # ---- what became of the images

    def settled(self) -> bool:
        """Whether every image is finished and announced, or rejected."""
        images = self.good.keys() | self.bad
        if not images <= self.finished().keys() | self.rejected():
            return False
        with suppress(URLError, OSError):
            wanted = self.finished().keys()
            return wanted <= self.shown().keys() and wanted <= self.announced().keys()
        return False

    def files(self, folder: str, suffixes: tuple[str, ...] = ()) -> Counter[str]:
        """The number of files by stem."""
        files = storage.list_files(f"{self.world.base}/{folder}")
        return Counter(file.stem for file in files if file.name.endswith(suffixes or ("",)))

    def stored(self) -> Counter[str]:
        """The number of low-resolution files of each image."""
        files = storage.list_files(f"{self.world.base}/low")
        return Counter(file.stem for file in files if not file.name.endswith(".json"))

    def finished(self) -> Counter[str]:
        """The number of evaluations of each image."""
        return self.files("results/evaluations", (".json",))

    def rejected(self) -> set[str]:
        """The images with a rejection."""
        return set(self.files("results/rejected", (".json",)))

    def shown(self) -> Counter[str]:
        """How often the API lists each image; raises URLError while the notifier is away."""
        return Counter(image["image_id"] for image in self._images())

    def announced(self) -> Counter[str]:
        """The number of different webhooks about each image."""
        messages = {
            request.message_id: json.loads(request.body) for request in self.receiver.requests(HOOK)
        }
        return Counter(
            message["data"]["image_id"]
            for message in messages.values()
            if message["type"] == "image.finished"
        )

    def _images(self) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            page = self._call(f"images?limit={_PER_PAGE}{cursor}")
            yield from page["images"]
            if page["next"] is None:
                return
            cursor = f"&cursor={page['next']}"

    def _subscribed(self) -> bool:
        with suppress(URLError, OSError):
            types = ["image.finished"]
            self._call("subscriptions", {"url": self.receiver.url(HOOK), "types": types})
            return True
        return False

    def _call(self, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
        content = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}"
        with urlopen(Request(url, content, headers), timeout=10) as answer:
            return json.load(answer)


def _below(process: psutil.Process | None) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return process.children(recursive=True) if process is not None else []
    return []


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""

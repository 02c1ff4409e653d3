"""`superres notify` as a process."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.support.example_gallery import TOKEN
from tests.support.http_server import until
from tests.support.kafka_broker import PATIENCE
from tests.support.processes import Service


@contextmanager
def notify(
    folder: Path, config: dict[str, Any], *arguments: str, **environment: str
) -> Iterator[Service]:
    """Runs a notifier on any free port."""
    own = {
        "database_url": f"sqlite:///{folder}/own.db",
        "cache_dir": str(folder / "own-cache"),
        "rescan_seconds": 3600,
    }
    given = config | {"notifier": own | config.get("notifier", {})}
    file = folder / "notify.json"
    file.write_text(json.dumps(given))
    service = Service(
        ["notify", "--port", "0", "--config", str(file), *arguments],
        {"SUPERRES_NOTIFIER_TOKEN": TOKEN, **environment},
        folder / "notify",
    )
    try:
        until(lambda: bool(service.events("listening")) or not service.running, PATIENCE)
        yield service
    finally:
        if service.running:
            service.terminate()
            service.wait(PATIENCE)


def address(service: Service) -> str:
    return str(service.events("serving")[0]["pages"][0]).rstrip("/")


def answer(url: str) -> Any:
    with urlopen(
        Request(url, headers={"Authorization": f"Bearer {TOKEN}"}), timeout=10
    ) as response:
        return json.load(response)

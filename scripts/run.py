"""`make run`: images from a source through Kafka, storage and Spark to the gallery.

The environment says what to do; arguments go to ``superres run``.

    SOURCE        what ``superres produce`` takes  [default: samples:]
    SCALE, MODE   2, 3 or 4; evaluate or upscale  [default: configured]
    SPARK_MASTER  a cluster to use instead of one that is started here
    SERVE=no      (or CI=true) check that the gallery shows the results, then end
    FOLLOW=1      stay, and process what is uploaded or added to SOURCE (a folder), until Ctrl-C

A broker that runs already is used and stays; one that is started here is stopped at the end.
"""

import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from scripts.check_gallery import check_gallery
from superres.cli.execution import INTERRUPTED, SOME_FAILED, WRONG_USAGE
from superres.cli.options import config_or_default
from superres.errors import ConfigError, SuperresError
from superres.pipeline import storage
from superres.pipeline.config_file import load_settings
from superres.redaction import without_secrets
from superres.service.signals import handle_ending
from superres.service.supervisor import Supervisor, ignored_signals, run_in_foreground

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".local"
_CHOICES = {"SCALE": ("2", "3", "4"), "MODE": ("evaluate", "upscale")}
_SUPERRES = str(Path(sys.executable).with_name("superres"))


@dataclass(frozen=True)
class Request:
    """What the environment and the arguments ask for."""

    source: str
    mode: str
    scale: str
    serve: bool
    follow: bool
    arguments: tuple[str, ...]

    @property
    def ingest_options(self) -> list[str]:
        """For the commands that publish references."""
        return [*self._scale_option, *(["--mode", self.mode] if self.mode else [])]

    @property
    def run_options(self) -> list[str]:
        """For ``superres run``; it reads SPARK_MASTER itself."""
        return [*self._scale_option, *self.arguments]

    @property
    def _scale_option(self) -> list[str]:
        return ["--scale", self.scale] if self.scale else []


def read_request(environment: Mapping[str, str], arguments: list[str]) -> Request:
    """What is asked for; raises ``ConfigError`` for a scale or mode that there is not."""
    for name, values in _CHOICES.items():
        if environment.get(name, "") not in ("", *values):
            raise ConfigError(f"{name}={environment[name]}: choose {', '.join(values)}")
    serve = environment.get("SERVE", "") != "no" and environment.get("CI") != "true"
    source = environment.get("SOURCE", "")
    return Request(
        # Not every shell expands ~ in an argument of make.
        source=str(Path(source).expanduser()) if source.startswith("~/") else source,
        mode=environment.get("MODE", ""),
        scale=environment.get("SCALE", ""),
        serve=serve,
        follow=bool(environment.get("FOLLOW")),
        arguments=tuple(arguments),
    )


def start_kafka(supervisor: Supervisor) -> str:
    """Starts a broker, or finds the one that runs; returns its address."""
    print("Starting Kafka …", flush=True)
    kafka = supervisor.start("kafka", [str(ROOT / "scripts" / "kafka" / "run.sh")])
    return supervisor.wait_for_line(kafka, r"^ *broker +(\S+)\n")


def start_gallery(supervisor: Supervisor, environment: Mapping[str, str]) -> str:
    """Starts the notifier; returns the gallery's address."""
    port = _port("SUPERRES_NOTIFIER__PORT", 8080)
    if _listens(port):  # another run that still serves, say
        port = 0
    command = [_SUPERRES, "notify", "--host", "127.0.0.1", "--port", str(port)]
    notify = supervisor.start("notify", command, environment)
    return supervisor.wait_for_line(notify, r"(http://127[0-9.:]*)")


def run_once(request: Request, supervisor: Supervisor, environment: Mapping[str, str]) -> int:
    """Processes a source, then serves the gallery until Ctrl-C."""
    ingest = [_SUPERRES, "ingest", request.source or "samples:", *request.ingest_options]
    status = run_in_foreground(ingest, environment)
    if status not in (0, SOME_FAILED):
        return status
    address = start_gallery(supervisor, environment)
    print(f"Gallery               {address} (shows each image as it is finished)", flush=True)
    collect = ["--collect", _collection(request)]
    ran = run_in_foreground([_SUPERRES, "run", *collect, *request.run_options], environment)
    if ran not in (0, SOME_FAILED):
        return ran
    left_out = status or ran
    if not request.serve:
        check_gallery(address)
        return left_out
    print(f"Gallery               {address} (Ctrl-C ends it)", flush=True)
    try:
        return supervisor.services["notify"].wait()
    except KeyboardInterrupt:
        return left_out  # everything is done


def _collection(request: Request) -> str:
    """Where people find the results of a run of this day, named as their photographs were."""
    settings = load_settings(config_or_default(None))
    scale = request.scale or settings.processing.upscale_factor
    results = settings.dataset.reconstructed_images_dir
    return storage.join(results, "collected", f"{datetime.now(UTC):%Y-%m-%d}-x{scale}")


def run_following(request: Request, supervisor: Supervisor, environment: Mapping[str, str]) -> int:
    """Processes what is uploaded or added to a folder, until Ctrl-C."""
    port = _port("SUPERRES_INGESTION__UPLOAD_PORT", 8081)
    if _listens(port):
        raise ConfigError(
            f"port {port}, for uploads, is in use; end the program that uses it, or choose "
            f"another: SUPERRES_INGESTION__UPLOAD_PORT={port + 10} make run FOLLOW=1"
        )
    token = os.environ.get("SUPERRES_UPLOAD_TOKEN") or secrets.token_urlsafe(24)
    environment = {**environment, **_following(request), "SUPERRES_UPLOAD_TOKEN": token}
    if request.source:
        produce = [_SUPERRES, "produce", request.source, "--follow", *request.ingest_options]
        supervisor.start("produce", produce, environment)
    supervisor.start("consume", [_SUPERRES, "consume"], environment)
    supervisor.start("uploads", [_SUPERRES, "uploads", "--port", str(port)], environment)
    supervisor.wait_until(lambda: _listens(port))
    uploads = f"http://127.0.0.1:{port}/uploads"
    address = start_gallery(supervisor, {**environment, "SUPERRES_NOTIFIER__UPLOADS_URL": uploads})
    print(f"Logs of the services  {LOGS}/{{produce,consume,uploads,notify}}.log")
    print(f"Gallery               {address}")
    print(f"Drop photographs on   {uploads}#token={token}", flush=True)
    return run_in_foreground([_SUPERRES, "run", "--follow", *request.run_options], environment)


def _following(request: Request) -> dict[str, str]:
    """The configuration of services that stay."""
    chosen = {}
    if request.mode:
        chosen["SUPERRES_INGESTION__MODE"] = request.mode
    if request.scale:
        chosen["SUPERRES_PROCESSING__UPSCALE_FACTOR"] = request.scale
    if request.source and Path(request.source).exists():
        roots = [os.path.realpath(request.source)]
        chosen["SUPERRES_INGESTION__FILE_ROOTS"] = json.dumps(roots)
    if request.source == "samples:":
        # Their server is on this machine, to which no other reference may point.
        chosen["SUPERRES_INGESTION__ALLOWED_HOSTS"] = '["127.0.0.1"]'
    return chosen


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not text.isdigit() or int(text) > 65535:
        raise ConfigError(f"{variable}: {text!r} is no port; give a number from 0 to 65535")
    return int(text)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Runs it all and ends what it started; returns the exit code."""
    handle_ending()
    environment: dict[str, str] = {}
    supervisor = Supervisor(LOGS)
    try:
        request = read_request(os.environ, sys.argv[1:])
        if not os.environ.get("SUPERRES_KAFKA__BOOTSTRAP_SERVERS"):
            environment["SUPERRES_KAFKA__BOOTSTRAP_SERVERS"] = start_kafka(supervisor)
        run = run_following if request.follow else run_once
        return run(request, supervisor, environment)
    except SuperresError as error:
        print(f"make run: {without_secrets(str(error))}", file=sys.stderr)
        return WRONG_USAGE if isinstance(error, ConfigError) else 1
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        with ignored_signals():
            supervisor.close()


if __name__ == "__main__":
    sys.exit(main())

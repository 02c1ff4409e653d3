"""Services are started with a log each, and none outlives its supervisor."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from superres.errors import SuperresError
from superres.service.supervisor import Supervisor, run_in_foreground, start
from tests.support.http_server import until
from tests.support.paths import ROOT

PATIENCE = 60.0
FOR_EVER = "while :; do sleep 0.05; done"  # bash runs a trap after each command


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    with Supervisor(tmp_path / "logs", patience=PATIENCE) as supervisor:
        yield supervisor


def shell(script: str) -> list[str]:
    return ["bash", "-c", script]


def test_a_service_runs_with_its_log_until_the_supervisor_closes(supervisor, tmp_path):
    script = (
        f"echo hello $WHO; trap 'touch {tmp_path}/ended; exit 0' TERM; while :; do sleep 0.05; done"
    )
    service = supervisor.start("greeter", shell(script), {"WHO": "you"})
    supervisor.wait_until(lambda: "hello you\n" in service.log_text(), PATIENCE)
    assert service.running
    assert (tmp_path / "logs" / "greeter.log").read_text() == "hello you\n"
    supervisor.close()
    assert not service.running
    assert (tmp_path / "ended").exists()


def test_services_end_in_reverse_order(supervisor, tmp_path):
    for name in ("first", "second", "third"):
        script = f"trap 'echo {name} >> {tmp_path}/order; exit' TERM; echo up; {FOR_EVER}"
        service = supervisor.start(name, shell(script))
        supervisor.wait_until(lambda service=service: "up" in service.log_text(), PATIENCE)
    supervisor.close()
    assert (tmp_path / "order").read_text().split() == ["third", "second", "first"]


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'superres: no broker'; echo 'a later line'; exit 1", "no broker"),
        ("echo one; echo two; exit 3", "two"),
        ("echo 'kafka-up: no Java found'; echo 'Kafka is not running'; exit 1", "no Java found"),
        ("exit 1", "it printed nothing"),
    ],
)
def test_a_service_that_fails_ends_the_wait_with_its_reason(supervisor, script, reason):
    supervisor.start("broken", shell(script))
    with pytest.raises(SuperresError, match=f"^broken: {reason}$"):
        supervisor.wait_until(lambda: False, PATIENCE)


def test_a_service_that_ends_well_is_no_failure(supervisor):
    service = supervisor.start("short", shell("exit 0"))
    supervisor.wait_until(lambda: not service.running, PATIENCE)
    supervisor.check()


def test_a_wait_that_is_too_long_names_the_logs(supervisor):
    with pytest.raises(SuperresError, match=r"not done after 0 s; see the logs .*/logs$"):
        supervisor.wait_until(lambda: False, 0.0)


def test_a_command_that_does_not_exist_is_a_failure_with_its_name(supervisor):
    supervisor.start("typo", ["/nowhere/superres"])
    with pytest.raises(SuperresError, match=r"^typo: /nowhere/superres: No such file"):
        supervisor.wait_until(lambda: False, PATIENCE)


def test_a_service_that_ignores_sigterm_is_killed(tmp_path):
    with Supervisor(tmp_path, patience=0.5) as supervisor:
        service = supervisor.start("stubborn", shell("trap '' TERM; echo up; sleep 600"))
        supervisor.wait_until(lambda: "up" in service.log_text(), PATIENCE)
        session = service.process.pid
    until(lambda: not alive_in(session), PATIENCE)


def alive_in(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if os.getsid(process.pid) == session and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found


def test_a_service_does_not_outlive_a_supervisor_that_was_killed(tmp_path):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from superres.service.supervisor import Supervisor\n"
        f"service = Supervisor(Path({str(tmp_path)!r})).start('sleeper', ['sleep', '600'])\n"
        "print(service.process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        session = int(running.stdout.readline())
        until(lambda: len(alive_in(session)) == 2, PATIENCE)  # the tether and the command
        running.kill()
    until(lambda: not alive_in(session), PATIENCE)


def test_a_foreground_command_does_not_outlive_a_supervisor_that_was_killed():
    program = (
        "from superres.service.supervisor import run_in_foreground\n"
        "run_in_foreground(['bash', '-c', 'echo $$; exec sleep 600'])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        session = os.getsid(int(running.stdout.readline()))
        assert len(alive_in(session)) == 2  # the tether and the command
        running.kill()
    until(lambda: not alive_in(session), PATIENCE)


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("echo up; exec sleep 600", id="exec"),
        pytest.param("trap '' TERM HUP INT; echo up; sleep 600; exit", id="a child that ignores"),
        pytest.param("sleep 600 & echo up; wait", id="in the background"),
    ],
)
def test_a_service_does_not_outlive_a_tether_that_was_killed(supervisor, script):
    service = supervisor.start("tethered", shell(script))
    session = service.process.pid
    supervisor.wait_until(lambda: "up" in service.log_text(), PATIENCE)
    os.kill(session, signal.SIGKILL)
    until(lambda: not alive_in(session), PATIENCE)


def test_a_tether_leaves_nobody_behind_when_its_command_ends(supervisor):
    service = supervisor.start("sleeper", ["sleep", "600"])
    tether = psutil.Process(service.process.pid)
    until(lambda: len(tether.children()) == 2, PATIENCE)  # the command and its guard
    family = tether.children()
    service.process.terminate()
    assert service.wait() == 143
    assert psutil.wait_procs(family, PATIENCE)[1] == []


def test_output_has_a_file_of_its_own_where_asked_for(tmp_path):
    output = tmp_path / "out"
    service = start("both", shell("echo out; echo log >&2"), tmp_path / "log", output=output)
    until(lambda: not service.running, PATIENCE)
    service.end()
    assert (output.read_text(), service.log_text()) == ("out\n", "log\n")


def test_what_a_service_leaves_in_its_group_ends_with_it(supervisor, tmp_path):
    service = supervisor.start("parent", shell("sleep 600 & echo up; exit 0"))
    session = service.process.pid
    supervisor.wait_until(lambda: not service.running, PATIENCE)
    until(lambda: not alive_in(session), PATIENCE)


@pytest.mark.parametrize(("script", "code"), [("exit 7", 7), ("kill -9 $$", 137)])
def test_a_foreground_command_returns_its_code(script, code):
    assert run_in_foreground(shell(script)) == code


def test_a_signal_that_was_ignored_stays_ignored():
    # As with nohup: the program and its command go on after a hang-up.
    program = (
        "import signal; from superres.service.supervisor import run_in_foreground\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "print(run_in_foreground(['bash', '-c', 'kill -HUP $PPID; exit 5']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert (done.returncode, done.stdout) == (0, "5\n"), done.stderr


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_reaches_the_foreground_command_before_this_ends(tmp_path, sent, code):
    # The command writes which signal it got; the program ends as the signal asks.
    script = " ".join(
        f"trap 'echo {name} > {tmp_path}/got; exit' {name};" for name in ("INT", "TERM", "HUP")
    )
    program = (
        "import signal, sys; from superres.service.supervisor import run_in_foreground\n"
        "for number in (signal.SIGTERM, signal.SIGHUP):\n"
        "    signal.signal(number, lambda received, _: sys.exit(128 + received))\n"
        f"run_in_foreground(['bash', '-c', {script + f' echo up; {FOR_EVER}'!r}])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        running.send_signal(sent)
        assert running.wait(PATIENCE) == code
    assert (tmp_path / "got").read_text().strip() == sent.name.removeprefix("SIG")

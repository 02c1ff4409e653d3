"""The life of a cluster, in EMR's states.

A thread of its own takes it from STARTING over BOOTSTRAPPING to WAITING and RUNNING, until there is
a reason to end; each running step has a thread too. All that changes is changed under ``changed``.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from localstack_emr_msk.calls import Caller, Request, now
from localstack_emr_msk.emr.fleets import Fleet, fleets_of, identifier
from localstack_emr_msk.emr.machine import (
    Machine,
    MachineError,
    Task,
    bootstrap_logs,
    step_logs,
)
from localstack_emr_msk.emr.requests import check_steps
from localstack_emr_msk.emr.steps import OVER, Step
from localstack_emr_msk.errors import validation

ENDED = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
_FINISHED = "A job flow that is shutting down, terminated, or finished may not be modified."


@dataclass(frozen=True)
class Ending:
    """Why a cluster ends, and as what."""

    code: str
    message: str
    state: str = "TERMINATED"


class Cluster:
    """A cluster.

    Args:
        caller: Whose it is.
        request: The RunJobFlow that asked for it, checked.
        machine: Makes what it runs on, once it has an id and a primary instance.
    """

    def __init__(
        self, caller: Caller, request: Request, machine: "Callable[[Cluster], Machine]"
    ) -> None:
        instances = request["Instances"]
        self.id = identifier("j-")
        self.arn = f"arn:aws:elasticmapreduce:{caller.region}:{caller.account}:cluster/{self.id}"
        self.caller, self.request = caller, request
        self.fleets: list[Fleet] = fleets_of(instances)
        self.steps = [Step(each) for each in request.get("Steps") or ()]
        self.state, self.code, self.message = "STARTING", "", ""
        self.created: datetime = now()
        self.ready: datetime | None = None
        self.ended: datetime | None = None
        # What can be changed later.
        self.tags = {each["Key"]: each.get("Value", "") for each in request.get("Tags") or ()}
        self.keep_alive = bool(instances.get("KeepJobFlowAliveWhenNoSteps"))
        self.protected = bool(instances.get("TerminationProtected"))
        self.replaces_unhealthy = bool(instances.get("UnhealthyNodeReplacement"))
        self.visible = request.get("VisibleToAllUsers") is not False
        self.concurrency: int = request.get("StepConcurrencyLevel") or 1
        self.scaling = request.get("ManagedScalingPolicy")
        self.auto_termination = request.get("AutoTerminationPolicy")
        self.changed = threading.Condition(threading.RLock())
        self._ending: Ending | None = None
        self._booting: list[Task] = []
        self._idle_since = time.monotonic()
        self._machine = machine(self)
        self._thread = threading.Thread(target=self._live, name=f"emr-{self.id}", daemon=True)

    # ---- what may be asked of it

    @property
    def primary(self) -> str:
        """The primary node's instance."""
        return next(each.instances[0] for each in self.fleets if each.role == "MASTER")

    def start(self) -> None:
        """Begins its life."""
        self._thread.start()

    def add(self, steps: Sequence[Step]) -> None:
        """Takes steps, unless it is about to end or has too many."""
        with self.changed:
            self.check_modifiable()
            active = sum(each.state not in OVER for each in self.steps)
            check_steps([each.config for each in steps], active, self.concurrency)
            self.steps.extend(steps)
            self.changed.notify_all()

    @property
    def modifiable(self) -> bool:
        """Whether it is neither about to end nor has ended."""
        return self._ending is None and self.state not in ENDED

    def check_modifiable(self) -> None:
        """Refuses when it is about to end or has ended."""
        if not self.modifiable:
            raise validation(_FINISHED)

    def cancel(self, step: Step) -> bool:
        """Begins to cancel a step; tells whether there was anything to cancel."""
        with self.changed:
            cancelled = step.cancel("Step was cancelled by user.")
            self.changed.notify_all()
            return cancelled

    def end(self, ending: Ending) -> None:
        """Begins to end it; a first reason stands."""
        with self.changed:
            if self._ending is not None or self.state in ENDED:
                return
            self._ending = ending
            for step in self.steps:
                step.cancel("Job terminated")
            for task in self._booting:
                task.stop()
            self.changed.notify_all()

    def join(self, seconds: float) -> None:
        """Waits until it has ended."""
        self._thread.join(seconds)

    # ---- its life

    def _live(self) -> None:
        try:
            if self._bootstrap() and self._ending is None:
                self._machine.start_applications()
                self.ready = now()
                self._serve()
        except MachineError as error:
            self.end(Ending("BOOTSTRAP_FAILURE", str(error), "TERMINATED_WITH_ERRORS"))
        except Exception as error:  # a fault of ours must not leave a cluster that never ends
            self.end(Ending("INTERNAL_ERROR", repr(error), "TERMINATED_WITH_ERRORS"))
        ending = self._ending or Ending("INTERNAL_ERROR", "", "TERMINATED_WITH_ERRORS")
        self._set("TERMINATING", ending.message, ending.code)
        self._machine.stop()
        self.ended = now()
        self._set(ending.state, ending.message, ending.code)

    def _set(self, state: str, message: str = "", code: str = "") -> None:
        with self.changed:
            self.state, self.message, self.code = state, message, code
            self.changed.notify_all()

    def _bootstrap(self) -> bool:
        actions = self.request.get("BootstrapActions") or ()
        if actions:
            self._set("BOOTSTRAPPING", "Running bootstrap actions")
        for number, action in enumerate(actions, 1):
            logs = bootstrap_logs(self.primary, number)
            if self._boot(number, action["ScriptBootstrapAction"], logs) == 0:
                continue
            why = self._machine.failure(logs)
            where = self._machine.ship(logs)
            told = f" ({why})" if why else ""
            self.end(
                Ending(
                    "BOOTSTRAP_FAILURE",
                    f"On the master instance ({self.primary}), bootstrap action {number} returned "
                    f"a non-zero return code{told}" + (f"; log {where}/stderr.gz" if where else ""),
                    "TERMINATED_WITH_ERRORS",
                )
            )
            return False
        return True

    def _boot(self, number: int, script: Request, logs: str) -> int:
        try:
            task = self._machine.bootstrap(number, script["Path"], script.get("Args") or ())
        except MachineError as error:
            self._machine.note(logs, str(error))
            return 1
        with self.changed:
            self._booting = [task]
            if self._ending is not None:
                task.stop()
        code = task.wait()
        with self.changed:
            self._booting = []
        if code == 0:
            self._machine.ship(logs)
        return code

    def _serve(self) -> None:
        """Runs steps as they come, until there is a reason to end."""
        running: list[threading.Thread] = []
        self._idle_since = time.monotonic()
        with self.changed:
            while True:
                running = [each for each in running if each.is_alive()]
                if self._ending is not None:
                    if not running:
                        return
                else:
                    running += self._begin(self.concurrency - len(running))
                    if running:
                        self._idle_since = time.monotonic()
                        if self.state != "RUNNING":
                            self._set("RUNNING", "Running step")
                    elif self._rests():
                        return
                # A while, for idle clusters and threads that are just ending.
                self.changed.wait(0.2)

    def _begin(self, most: int) -> list[threading.Thread]:
        pending = [each for each in self.steps if each.state == "PENDING"]
        threads = []
        for step in pending[: max(0, most)]:
            step.state, step.started = "RUNNING", now()
            name = f"emr-{step.id}"
            threads.append(threading.Thread(target=self._run, args=(step,), name=name, daemon=True))
            threads[-1].start()
        return threads

    def _rests(self) -> bool:
        """No step is there; tells whether that is a reason to end."""
        if not self.keep_alive:
            failed = any(each.state == "FAILED" for each in self.steps)
            self.end(
                Ending(
                    "ALL_STEPS_COMPLETED",
                    "Steps completed with errors" if failed else "Steps completed",
                )
            )
            return True
        idle = (self.auto_termination or {}).get("IdleTimeout")
        if idle and time.monotonic() - self._idle_since > idle and not self.protected:
            told = "Cluster was terminated by its auto-termination policy: it was idle"
            self.end(Ending("USER_REQUEST", told))
            return True
        if self.state != "WAITING":
            after = "Cluster ready after last step completed."
            failed = any(each.state == "FAILED" for each in self.steps[-1:])
            after = "Cluster ready after last step failed." if failed else after
            self._set("WAITING", after if self.steps else "Cluster ready to run steps.")
        return False

    def _run(self, step: Step) -> None:
        logs, code = step_logs(step.id), None
        try:
            task = self._machine.step(step.id, step.jar, step.arguments)
            with self.changed:
                step.task = task
                if step.state == "CANCEL_PENDING":
                    task.stop()
            code = task.wait()
        except Exception as error:  # nothing that a step does may leave it running for ever
            known = isinstance(error, MachineError)
            self._machine.note(logs, str(error) if known else repr(error))
        message = self._machine.failure(logs) if code != 0 else ""
        where = self._machine.ship(logs)
        with self.changed:
            step.end(code, message, where)
            if step.state == "FAILED":
                self._after_failure(step)
            self.changed.notify_all()

    def _after_failure(self, step: Step) -> None:
        # Where steps run beside each other, a failed one stops nothing, whatever it asked for:
        # https://docs.aws.amazon.com/emr/latest/APIReference/API_StepConfig.html
        if self.concurrency > 1:
            return
        # A protected cluster waits instead.
        if step.on_failure == "TERMINATE_CLUSTER" and not self.protected:
            told = f"Shut down as step failed: {step.id}"
            self.end(Ending("STEP_FAILURE", told, "TERMINATED_WITH_ERRORS"))
        elif step.on_failure != "CONTINUE":
            for other in self.steps:
                if other.state == "PENDING":
                    other.cancel("Cancelled since an earlier step failed")

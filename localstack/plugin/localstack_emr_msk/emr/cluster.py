"""The lifecycle of a cluster, in EMR's states.

A thread takes it from STARTING through BOOTSTRAPPING to WAITING and RUNNING, until it has a reason
to end; each running step has a thread too. All changes happen while ``changed`` is held.
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
from localstack_emr_msk.emr.steps import FINAL_STATES, Step
from localstack_emr_msk.errors import validation

ENDED = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
_FINISHED = "A job flow that is shutting down, terminated, or finished may not be modified."


@dataclass(frozen=True)
class Ending:
    """Why a cluster ends, and its final state."""

    code: str
    message: str
    state: str = "TERMINATED"


class Cluster:
    """A cluster.

    Args:
        caller: Its account and region.
        request: The RunJobFlow request, validated.
        machine: Creates the machine, once the cluster has an id and a primary instance.
        refusal: Returns why EMR ends the cluster before its instances start, or None.
    """

    def __init__(
        self,
        caller: Caller,
        request: Request,
        machine: "Callable[[Cluster], Machine]",
        refusal: Callable[[], str | None],
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
        # These can be changed later.
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
        self._bootstrap_tasks: list[Task] = []
        self._idle_since = time.monotonic()
        self._machine = machine(self)
        self._refusal = refusal
        self._thread = threading.Thread(
            target=self._run_lifecycle, name=f"emr-{self.id}", daemon=True
        )

    # ---- operations

    @property
    def primary(self) -> str:
        """The instance id of the primary node."""
        return next(each.instances[0] for each in self.fleets if each.role == "MASTER")

    def start(self) -> None:
        """Starts it."""
        self._thread.start()

    def add(self, steps: Sequence[Step]) -> None:
        """Adds steps; raises ``ServiceError`` if it is ending or would have too many."""
        with self.changed:
            self.check_modifiable()
            active = sum(each.state not in FINAL_STATES for each in self.steps)
            check_steps([each.config for each in steps], active, self.concurrency)
            self.steps.extend(steps)
            self.changed.notify_all()

    @property
    def modifiable(self) -> bool:
        """Whether it is neither ending nor has ended."""
        return self._ending is None and self.state not in ENDED

    def check_modifiable(self) -> None:
        """Raises ``ServiceError`` when it is ending or has ended."""
        if not self.modifiable:
            raise validation(_FINISHED)

    def cancel(self, step: Step) -> bool:
        """Starts to cancel a step; returns whether it could still be cancelled."""
        with self.changed:
            cancelled = step.cancel("Step was cancelled by user.")
            self.changed.notify_all()
            return cancelled

    def end(self, ending: Ending) -> None:
        """Starts to end it; only the first reason counts."""
        with self.changed:
            if self._ending is not None or self.state in ENDED:
                return
            self._ending = ending
            for step in self.steps:
                step.cancel("Job terminated")
            for task in self._bootstrap_tasks:
                task.stop()
            self.changed.notify_all()

    def join(self, seconds: float) -> None:
        """Waits until it has ended."""
        self._thread.join(seconds)

    # ---- lifecycle

    def _run_lifecycle(self) -> None:
        try:
            if self._validate() and self._bootstrap() and self._ending is None:
                self._machine.start_applications()
                self.ready = now()
                self._run_steps()
        except MachineError as error:
            self.end(Ending("BOOTSTRAP_FAILURE", str(error), "TERMINATED_WITH_ERRORS"))
        except Exception as error:  # a bug must not leave a cluster that never ends
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

    def _validate(self) -> bool:
        reason = self._refusal()
        if reason is not None:
            self.end(Ending("VALIDATION_ERROR", reason, "TERMINATED_WITH_ERRORS"))
        return reason is None

    def _bootstrap(self) -> bool:
        actions = self.request.get("BootstrapActions") or ()
        if actions:
            self._set("BOOTSTRAPPING", "Running bootstrap actions")
        for number, action in enumerate(actions, 1):
            logs = bootstrap_logs(self.primary, number)
            if self._run_bootstrap_action(number, action["ScriptBootstrapAction"], logs) == 0:
                continue
            reason = self._machine.failure(logs)
            log = self._machine.copy_logs(logs)
            details = f" ({reason})" if reason else ""
            self.end(
                Ending(
                    "BOOTSTRAP_FAILURE",
                    f"On the master instance ({self.primary}), bootstrap action {number} returned "
                    f"a non-zero return code{details}" + (f"; log {log}/stderr.gz" if log else ""),
                    "TERMINATED_WITH_ERRORS",
                )
            )
            return False
        return True

    def _run_bootstrap_action(self, number: int, script: Request, logs: str) -> int:
        try:
            task = self._machine.bootstrap(number, script["Path"], script.get("Args") or ())
        except MachineError as error:
            self._machine.append_error(logs, str(error))
            return 1
        with self.changed:
            self._bootstrap_tasks = [task]
            if self._ending is not None:
                task.stop()
        code = task.wait()
        with self.changed:
            self._bootstrap_tasks = []
        if code == 0:
            self._machine.copy_logs(logs)
        return code

    def _run_steps(self) -> None:
        """Runs steps until there is a reason to end."""
        running: list[threading.Thread] = []
        self._idle_since = time.monotonic()
        with self.changed:
            while True:
                running = [each for each in running if each.is_alive()]
                if self._ending is not None:
                    if not running:
                        return
                else:
                    running += self._start_steps(self.concurrency - len(running))
                    if running:
                        self._idle_since = time.monotonic()
                        if self.state != "RUNNING":
                            self._set("RUNNING", "Running step")
                    elif self._should_end():
                        return
                # With a timeout, for idle clusters and threads that are about to end.
                self.changed.wait(0.2)

    def _start_steps(self, limit: int) -> list[threading.Thread]:
        pending = [each for each in self.steps if each.state == "PENDING"]
        threads = []
        for step in pending[: max(0, limit)]:
            step.state, step.started = "RUNNING", now()
            name = f"emr-{step.id}"
            threads.append(
                threading.Thread(target=self._run_step, args=(step,), name=name, daemon=True)
            )
            threads[-1].start()
        return threads

    def _should_end(self) -> bool:
        """Ends the cluster or sets it to WAITING, when no step is left; returns whether it ends."""
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
            message = "Cluster was terminated by its auto-termination policy: it was idle"
            self.end(Ending("USER_REQUEST", message))
            return True
        if self.state != "WAITING":
            outcome = "failed" if self.steps and self.steps[-1].state == "FAILED" else "completed"
            message = f"Cluster ready after last step {outcome}."
            self._set("WAITING", message if self.steps else "Cluster ready to run steps.")
        return False

    def _run_step(self, step: Step) -> None:
        logs, code = step_logs(step.id), None
        try:
            task = self._machine.step(step.id, step.jar, step.arguments)
            with self.changed:
                step.task = task
                if step.state == "CANCEL_PENDING":
                    task.stop()
            code = task.wait()
        except Exception as error:  # an error must not leave the step running for ever
            known = isinstance(error, MachineError)
            self._machine.append_error(logs, str(error) if known else repr(error))
        message = self._machine.failure(logs) if code != 0 else ""
        log = self._machine.copy_logs(logs)
        with self.changed:
            step.end(code, message, log)
            if step.state == "FAILED":
                self._after_failure(step)
            self.changed.notify_all()

    def _after_failure(self, step: Step) -> None:
        # With concurrent steps, a failed one stops nothing, whatever its ActionOnFailure:
        # https://docs.aws.amazon.com/emr/latest/APIReference/API_StepConfig.html
        if self.concurrency > 1:
            return
        # A protected cluster waits instead.
        if step.on_failure == "TERMINATE_CLUSTER" and not self.protected:
            message = f"Shut down as step failed: {step.id}"
            self.end(Ending("STEP_FAILURE", message, "TERMINATED_WITH_ERRORS"))
        elif step.on_failure != "CONTINUE":
            for other in self.steps:
                if other.state == "PENDING":
                    other.cancel("Cancelled since an earlier step failed")

"""The stack that the tests of this folder share."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.destroy import stop_work
from deploy.environments import read_environment
from tests.local_cloud.executions import clients_on
from tests.local_cloud.stack import ENVIRONMENT, Stack, running_stack

_FOLDER = Path(__file__).parent
# The third needs empty buckets; transient clusters come after the persistent one. Permissions are
# those of the calls of all tests before.
_ORDER = [
    "test_cleanup",
    "test_apply",
    "test_deploy_role",
    "test_end_to_end",
    "test_smoke",
    "test_failures",
    "test_bad_images",
    "test_transient",
    "test_permissions",
    "test_destroy",
]
_SECONDS = pytest.StashKey[dict[str, float]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder, and puts them in order, after all others."""
    ours = [item for item in items if item.path.is_relative_to(_FOLDER)]
    for item in ours:
        item.add_marker(pytest.mark.local_cloud)
        # The first test waits for the deployment.
        item.add_marker(pytest.mark.timeout(1800))
    items.sort(key=lambda item: _ORDER.index(item.path.stem) if item in ours else -1)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Prints how long each phase took."""
    for phase, seconds in config.stash.get(_SECONDS, {}).items():
        terminalreporter.write_line(f"{phase:18}{seconds:6.0f} s")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The production root with local.tfvars, deployed on its own LocalStack."""
    with running_stack() as running, pytest.MonkeyPatch.context() as patch:
        request.config.stash[_SECONDS] = running.seconds
        # Temporary files of this process, such as Chromium's profile, are deleted with the stack.
        patch.setattr(tempfile, "tempdir", str(running.folder / "tmp"))
        with running.timed("package"):
            packed = running.deploy_command("package", "--without-gpu")
        assert packed.returncode == 0, packed.stdout + packed.stderr
        with running.timed("deploy"):
            deployed = running.deployed()
        yield deployed


@pytest.fixture(scope="session")
def transient(stack: Stack) -> Iterator[Stack]:
    """The stack, deployed again with transient clusters.

    The persistent one has been terminated, as Terraform finds it too when `make destroy` calls it.
    """
    stop_work(
        read_environment(ENVIRONMENT),
        state_machine=None,
        stepfunctions=stack.client("stepfunctions"),
        emr=stack.client("emr"),
        report=print,
        pause=lambda _: time.sleep(1),
    )
    with stack.timed("deploy, transient"):
        deployed = stack.deployed(cluster_lifecycle="transient")
    with clients_on(deployed):
        yield deployed

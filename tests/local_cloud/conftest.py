"""The stack that the tests of this folder share."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_cloud.stack import Stack, running_stack

_FOLDER = Path(__file__).parent
_LAST = "test_destroy"  # takes away what all others need
_SECONDS = pytest.StashKey[dict[str, float]]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests of this folder, and puts the last one last."""
    ours = [item for item in items if item.path.is_relative_to(_FOLDER)]
    for item in ours:
        item.add_marker(pytest.mark.local_cloud)
        # The first test waits for the deployment.
        item.add_marker(pytest.mark.timeout(1800))
    items.sort(key=lambda item: item in ours and item.path.stem == _LAST)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Tells how long each phase took."""
    for phase, seconds in config.stash.get(_SECONDS, {}).items():
        terminalreporter.write_line(f"{phase:12}{seconds:6.0f} s")


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The production root, deployed on a LocalStack of its own."""
    with running_stack() as running, pytest.MonkeyPatch.context() as patch:
        request.config.stash[_SECONDS] = running.seconds
        # What this process makes for a while, Chromium's profile say, goes with the stack.
        patch.setattr(tempfile, "tempdir", str(running.folder / "tmp"))
        with running.timed("deploy"):
            deployed = running.deployed()
        yield deployed

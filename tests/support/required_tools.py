"""Tools that a test needs beyond Python packages.

A missing one skips the test on a developer's machine and fails it with CI=true, where it would
otherwise go unnoticed that nothing was tested.
"""

import os
import shutil

import pytest


def require(tool: str, remedy: str, *, found: bool | None = None) -> None:
    """Skip or fail the running test when a tool is missing.

    Args:
        tool: a command on PATH, or anything else when `found` says whether it is there.
        remedy: what to do about it, such as ``make system-packages``.
        found: whether it is there; by default whether PATH has a command `tool`.
    """
    if shutil.which(tool) is not None if found is None else found:
        return
    message = f"{tool} is missing; remedy: {remedy}"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)

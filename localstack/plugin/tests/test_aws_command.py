"""The replacement for the AWS command line on a node without one."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from localstack_emr_msk.node import __file__ as node

PROGRAM = Path(node).with_name("aws.py")


def run(*arguments: str, endpoint: str = "http://127.0.0.1:1", **more: Any) -> Any:
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "eu-central-1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    command = [sys.executable, "-I", str(PROGRAM), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60, **more
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("s3", "ls"),
        ("s3", "cp", "--recursive", "s3://b/", "here"),
        ("ec2", "describe-instances"),
        ("s3", "cp", "here", "there"),
    ],
)
def test_unsupported_commands_are_an_error(arguments: tuple[str, ...]) -> None:
    found = run(*arguments)
    assert found.returncode == 1
    assert "supports only: aws s3 cp" in found.stderr


def test_an_unreachable_endpoint_is_reported_in_one_line(tmp_path: Path) -> None:
    found = run("s3", "cp", "s3://bucket/key", str(tmp_path / "file"))
    assert found.returncode == 1
    assert found.stderr.startswith("aws s3 cp s3://bucket/key")
    assert len(found.stderr.splitlines()) == 1


@pytest.mark.localstack
def test_objects_are_copied_both_ways(cloud: Any, s3: Any, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("content")
    for source, target in (
        (str(tmp_path / "file"), f"s3://{bucket}/folder/"),
        (f"s3://{bucket}/folder/file", str(tmp_path / "folder")),
    ):
        found = run("s3", "cp", "--only-show-errors", source, target, endpoint=cloud.endpoint)
        assert found.returncode == 0, found.stderr
    assert (tmp_path / "folder/file").read_text() == "content"
    uri = f"s3://{bucket}/folder/file"
    assert run("s3", "cp", uri, "-", endpoint=cloud.endpoint).stdout == "content"
    missing = run("s3", "cp", f"s3://{bucket}/none", "-", endpoint=cloud.endpoint)
    assert (missing.returncode, missing.stdout) == (1, "")

"""The local cloud starts, responds, and stops without affecting other processes."""

import os
import re
import socket
from dataclasses import replace

import pytest

from tests.support.localstack import REGION, LocalCloud, unstarted_cloud

pytestmark = pytest.mark.localstack


def pid_of(text: str) -> int:
    match = re.search(r"pid (\d+)", text)
    assert match, text
    return int(match[1])


def test_stored_objects_can_be_read(aws_environment, bucket):
    s3 = aws_environment.s3()
    s3.put_object(Bucket=bucket, Key="raw/a b+c.png", Body=b"pixels")
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [
        "raw/a b+c.png"
    ]
    assert s3.get_object(Bucket=bucket, Key="raw/a b+c.png")["Body"].read() == b"pixels"


def test_a_second_start_changes_nothing(local_cloud, bucket):
    again = local_cloud.script("up")
    status = local_cloud.script("status")
    assert (again.returncode, status.returncode) == (0, 0)
    assert pid_of(again.stdout) == pid_of(status.stdout)
    for text in (again.stdout, status.stdout):
        assert local_cloud.endpoint in text
        assert str(local_cloud.folder / "localstack.log") in text
        assert str(local_cloud.folder / "data") in text
    local_cloud.s3().head_bucket(Bucket=bucket)


def test_a_second_start_on_another_port_is_an_error(local_cloud):
    again = replace(local_cloud, port=local_cloud.port + 1).script("up")
    expected = f"runs on port {local_cloud.port}; stop it first: make local-down\n"
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.endswith(expected)


def test_it_listens_on_one_loopback_address(local_cloud):
    with socket.socket() as client:
        client.settimeout(5)
        # A server on all interfaces would answer on every 127.x.x.x.
        with pytest.raises(OSError, match=r"refused|unreachable|assign"):
            client.connect(("127.0.0.2", local_cloud.port))


@pytest.mark.slow
def test_two_instances_run_independently(local_cloud, bucket, tmp_path):
    other = unstarted_cloud(tmp_path)
    started = other.script("up")
    try:
        assert started.returncode == 0, started.stderr
        assert other.s3().list_buckets()["Buckets"] == []
        # A bucket of the same name is another, with files of its own.
        other.s3().create_bucket(
            Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        other.s3().put_object(Bucket=bucket, Key="one", Body=b"pixels")
        assert list((tmp_path / "data").rglob(bucket))
        other.s3().delete_object(Bucket=bucket, Key="one")
        other.s3().delete_bucket(Bucket=bucket)
        large = bytes(1 << 20)  # small ones stay in memory
        local_cloud.s3().put_object(Bucket=bucket, Key="one", Body=large)
    finally:
        stopped = other.script("down")
    assert pid_of(stopped.stdout) == pid_of(started.stdout)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", other.port), timeout=5)
    assert {path.name for path in tmp_path.iterdir()} == {"localstack.log", "port"}
    assert other.script("down").returncode == 0
    assert other.script("status").returncode == 3
    local_cloud.s3().head_bucket(Bucket=bucket)


def test_a_port_in_use_is_reported_with_the_remedy(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        unstarted_cloud(tmp_path)  # skips where LocalStack is not installed
        refused = LocalCloud(port, tmp_path).script("up")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert f"port {port}" in line
    assert "LOCALSTACK_PORT=" in line


def test_a_stale_pid_file_does_not_stop_another_process(tmp_path):
    cloud = LocalCloud(1, tmp_path)
    (tmp_path / "pid").write_text(f"{os.getpid()}\n")
    assert cloud.script("status").returncode == 3
    stopped = cloud.script("down")  # a signal would end this test session
    assert stopped.returncode == 0
    assert "does not run" in stopped.stdout
    assert not (tmp_path / "pid").exists()

"""Processes on a machine, with a fake Spark."""

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from localstack_emr_msk.calls import Caller
from localstack_emr_msk.emr.machine import Identity, LocalMachine, MachineError, step_logs
from localstack_emr_msk.objects import ObjectError
from localstack_emr_msk.settings import Settings

SPARK_CLASS = """#!/bin/sh
case $1 in
  *Master) echo "Starting Spark master at spark://127.0.0.1:7077" ;;
  *Worker) echo "$@"; echo "Successfully registered with master" ;;
esac
exec sleep 300
"""
SPARK_SUBMIT = """#!/bin/sh
echo "given: $*"
[ "$1" = --properties-file ] && cat "$2"
echo "noise of Java" >&2
echo "the driver's last word"
exit "${CODE:-0}"
"""


class Memory(dict[str, bytes]):
    """Objects in memory."""

    def read(self, uri: str) -> bytes:
        if uri not in self:
            raise ObjectError(f"cannot read {uri}: NoSuchKey")
        return self[uri]

    def write(self, uri: str, content: bytes) -> None:
        self[uri] = content


def program(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(0o755)


@pytest.fixture
def objects() -> Memory:
    return Memory()


@pytest.fixture
def machine(tmp_path: Path, objects: Memory) -> Iterator[LocalMachine]:
    program(tmp_path / "spark/bin/spark-class", SPARK_CLASS)
    program(tmp_path / "spark/bin/spark-submit", SPARK_SUBMIT)
    settings = Settings(
        "http://127.0.0.1:1",
        tmp_path / "emr",
        tmp_path / "mnt",
        spark_home=tmp_path / "spark",
        stop_seconds=1,
        node_environment={"TOOL": "hammer"},
    )
    identity = Identity(
        "j-1",
        "i-1",
        Caller("000000000000", "eu-central-1"),
        "s3://logs/emr/",
        frozenset({"spark"}),
        ({"Classification": "spark-defaults", "Properties": {"spark.x": "1"}},),
        "http://127.0.0.1:1/credentials",
    )
    made = LocalMachine(settings, identity, objects)
    yield made
    made.stop()


def log(objects: Memory, name: str) -> str:
    return gzip.decompress(objects[f"s3://logs/emr/j-1/{name}.gz"]).decode()


def test_a_bootstrap_action_is_downloaded_and_run(machine: LocalMachine, objects: Memory) -> None:
    objects["s3://b/boot.sh"] = b'echo "$1 $TOOL $AWS_REGION $AWS_ENDPOINT_URL $EMR_CLUSTER_ID"\n'
    assert machine.bootstrap(1, "s3://b/boot.sh", ["arg"]).wait() == 0
    where = machine.copy_logs("node/i-1/bootstrap-actions/1")
    assert where == "s3://logs/emr/j-1/node/i-1/bootstrap-actions/1"
    output = log(objects, "node/i-1/bootstrap-actions/1/stdout")
    assert output == "arg hammer eu-central-1 http://127.0.0.1:1 j-1\n"
    with pytest.raises(MachineError, match="NoSuchKey"):
        machine.bootstrap(2, "s3://b/none.sh", [])


def test_processes_do_not_inherit_localstacks_environment(
    machine: LocalMachine, objects: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GATEWAY_LISTEN", "127.0.0.1:4566")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    machine.step("s-1", "command-runner.jar", ["env"]).wait()
    machine.copy_logs(step_logs("s-1"))
    output = log(objects, "steps/s-1/stdout")
    assert "TOOL=hammer" in output
    assert "GATEWAY_LISTEN" not in output
    assert "AWS_PROFILE" not in output


def test_spark_submit_runs_on_the_clusters_spark(
    machine: LocalMachine, objects: Memory, tmp_path: Path
) -> None:
    machine.start_applications()
    objects["s3://b/job.py"] = b"print(1)"
    arguments = ["spark-submit", "--deploy-mode", "cluster", "s3://b/job.py", "s3://b/in"]
    assert machine.step("s-1", "command-runner.jar", arguments).wait() == 0
    machine.copy_logs(step_logs("s-1"))
    output = log(objects, "steps/s-1/stdout")
    job = tmp_path / "emr/j-1/steps/s-1/job.py"
    master = "--master spark://127.0.0.1:7077 --deploy-mode client"
    assert re.search(rf"^given: --properties-file \S+ {master} {job} s3://b/in$", output, re.M)
    assert "spark.x 1\n" in output
    assert job.read_bytes() == b"print(1)"


def test_the_output_of_a_failed_driver_is_quoted(machine: LocalMachine, objects: Memory) -> None:
    machine.start_applications()
    objects["s3://b/job.py"] = b""
    arguments = ["spark-submit", "--conf", "spark.yarn.appMasterEnv.CODE=3", "s3://b/job.py"]
    assert machine.step("s-1", "command-runner.jar", arguments).wait() == 3
    assert machine.failure(step_logs("s-1")) == "the driver's last word"
    machine.copy_logs(step_logs("s-1"))
    output = log(objects, "steps/s-1/stderr")
    assert output.startswith("noise of Java\nLast output of the driver:\n")
    assert output.endswith("the driver's last word\n")


def test_a_script_of_script_runner_is_downloaded_and_run(
    machine: LocalMachine, objects: Memory
) -> None:
    objects["s3://b/it.sh"] = b"echo nothing to say >&2; exit $1\n"
    jar = "s3://region.elasticmapreduce/libs/script-runner/script-runner.jar"
    assert machine.step("s-1", jar, ["s3://b/it.sh", "4"]).wait() == 4
    assert machine.failure(step_logs("s-1")) == "nothing to say"


@pytest.mark.parametrize(
    ("jar", "arguments", "message"),
    [
        ("s3://b/mine.jar", ["x"], "cannot run here"),
        ("command-runner.jar", [], "needs arguments"),
        ("command-runner.jar", ["spark-submit", "job.py"], "Spark is not among"),
    ],
)
def test_what_cannot_run_is_an_error(
    machine: LocalMachine, jar: str, arguments: list[str], message: str
) -> None:
    with pytest.raises(MachineError, match=message):
        machine.step("s-1", jar, arguments)


def test_a_spark_that_does_not_start_is_an_error(machine: LocalMachine, tmp_path: Path) -> None:
    program(tmp_path / "spark/bin/spark-class", "#!/bin/sh\necho no Java; exit 1\n")
    with pytest.raises(MachineError, match=r"a process has ended; see .*master\.log"):
        machine.start_applications()

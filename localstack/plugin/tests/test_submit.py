"""A spark-submit for YARN becomes one for the standalone master."""

from itertools import pairwise
from pathlib import Path

import pytest
from localstack_emr_msk.emr.submit import SubmitError, Target, adapt

PLACE = Target("spark://127.0.0.1:7077", Path("/somewhere/mnt"), cores=2, memory=4096)
BEGIN = ("--master", PLACE.master, "--deploy-mode", "client")


def conf(*arguments: str) -> dict[str, str]:
    options = adapt([*arguments, "app.py"], PLACE).options
    values = [value for name, value in pairwise(options) if name == "--conf"]
    return dict(value.split("=", 1) for value in values)


def test_master_and_deploy_mode_are_always_those_of_the_cluster() -> None:
    for asked in (
        ["--master", "yarn", "--deploy-mode", "cluster"],
        ["--master=yarn", "--deploy-mode=cluster"],
        ["--conf", "spark.master=yarn", "-c", "spark.submit.deployMode=cluster"],
        ["--queue", "default", "--supervise"],
    ):
        assert adapt([*asked, "app.py"], PLACE).options == BEGIN


def test_arguments_of_the_application_are_unchanged() -> None:
    asked = ["s3://b/jobs/a.py", "--master", "x", "--conf", "y", "/mnt/in", "s3://b/out"]
    adapted = adapt(["--name", "it", *asked], PLACE)
    assert adapted.options == (*BEGIN, "--name", "it")
    assert adapted.application == "s3://b/jobs/a.py"
    assert adapted.arguments == tuple(asked[1:])


def test_yarn_options_are_dropped_and_its_environment_is_the_drivers() -> None:
    asked = ["--conf", "spark.yarn.maxAppAttempts=1"]
    asked += ["--conf", "spark.yarn.executor.nodeLabelExpression=CORE"]
    asked += ["--conf", "spark.yarn.appMasterEnv.PYSPARK_PYTHON=/mnt/venv/bin/python"]
    adapted = adapt([*asked, "app.py"], PLACE)
    assert adapted.options == BEGIN
    assert adapted.environment == {"PYSPARK_PYTHON": "/somewhere/mnt/venv/bin/python"}


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("/mnt/venv/bin/python", "/somewhere/mnt/venv/bin/python"),
        ("/mnt", "/somewhere/mnt"),
        ("/mnt1/x", "/mnt1/x"),
        ("/usr/mnt/x", "/usr/mnt/x"),
        ("-Da=/mnt/a -Db=/mnt/b", "-Da=/somewhere/mnt/a -Db=/somewhere/mnt/b"),
    ],
)
def test_paths_below_mnt_move_to_the_folder_that_replaces_it(given: str, becomes: str) -> None:
    assert conf("--conf", f"spark.pyspark.python={given}") == {"spark.pyspark.python": becomes}


def test_executors_get_no_more_than_the_worker_has() -> None:
    found = conf("--executor-memory", "20g", "--executor-cores", "8", "--num-executors", "3")
    assert found["spark.executor.memory"] == "4096m"
    assert found["spark.executor.cores"] == "2"
    assert found["spark.cores.max"] == "2"
    assert conf("--executor-memory", "512m")["spark.executor.memory"] == "512m"


def test_an_application_gets_as_many_executors_as_requested() -> None:
    found = conf("--conf", "spark.executor.cores=1", "--conf", "spark.executor.instances=1")
    assert found["spark.cores.max"] == "1"
    dynamic = ["--conf", "spark.dynamicAllocation.enabled=true", "--num-executors", "1"]
    assert "spark.cores.max" not in conf(*dynamic)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["--name", "it"], "application file or jar is missing"),
        (["--name"], "--name needs a value"),
        (["--conf", "spark.x", "app.py"], "has no '='"),
        (["--executor-memory", "lots", "app.py"], "not a memory size"),
        (["--executor-cores", "0", "app.py"], "whole number from 1"),
        (["--conf", "spark.executor.resource.gpu.amount=1", "app.py"], "ask for gpu"),
    ],
)
def test_what_cannot_run_here_is_an_error(asked: list[str], message: str) -> None:
    with pytest.raises(SubmitError, match=message):
        adapt(asked, PLACE)

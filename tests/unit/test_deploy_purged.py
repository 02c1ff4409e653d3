"""A cluster that EMR has forgotten does not keep Terraform from planning."""

import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from deploy.purged import forget_purged_cluster
from deploy.terraform import Terraform
from tests.support.fake_aws import Recorder, stubbed

POLICY = "module.processing.aws_emr_managed_scaling_policy.this[0]"
STATE = f"module.processing.aws_emr_cluster.this[0]\n{POLICY}\nmodule.storage.aws_kms_key.data\n"
KNOWN = {"Cluster": {"Id": "j-1", "Status": {"State": "TERMINATED"}}}


def terraform_with(cluster: str | None, state: str = STATE) -> tuple[Terraform, Recorder]:
    outputs = {"cluster_id": {"value": cluster}} if cluster else {}
    run = Recorder({"output": json.dumps(outputs), "state": state})
    return Terraform(Path("infra"), Path("data"), {}, run), run


def removals(run: Recorder) -> list[list[str]]:
    return [call[call.index("rm") + 1 :] for call in run.calls if "rm" in call]


def test_the_policy_of_a_purged_cluster_leaves_the_state() -> None:
    terraform, run = terraform_with("j-1")
    emr, stub = stubbed("emr")
    stub.add_client_error(
        "describe_cluster", "InvalidRequestException", "Cluster id 'j-1' is not valid."
    )
    lines: list[str] = []
    forget_purged_cluster(terraform, emr, lines.append)
    assert removals(run) == [[POLICY]]
    assert lines == ["EMR does not know the cluster j-1 any more: Terraform forgets its policy"]


def test_nothing_is_removed_twice() -> None:
    terraform, run = terraform_with("j-1", "module.processing.aws_emr_cluster.this[0]\n")
    emr, stub = stubbed("emr")
    stub.add_client_error("describe_cluster", "InvalidRequestException")
    forget_purged_cluster(terraform, emr, pytest.fail)
    assert removals(run) == []


def test_a_cluster_that_only_ended_is_left_to_terraform() -> None:
    terraform, run = terraform_with("j-1")
    emr, stub = stubbed("emr")
    stub.add_response("describe_cluster", KNOWN, {"ClusterId": "j-1"})
    forget_purged_cluster(terraform, emr, pytest.fail)
    assert removals(run) == []


def test_without_a_persistent_cluster_emr_is_not_asked() -> None:
    terraform, run = terraform_with(None)
    emr, _ = stubbed("emr")
    forget_purged_cluster(terraform, emr, pytest.fail)
    assert removals(run) == []


def test_another_error_of_emr_is_one() -> None:
    terraform, run = terraform_with("j-1")
    emr, stub = stubbed("emr")
    stub.add_client_error("describe_cluster", "AccessDeniedException")
    with pytest.raises(ClientError, match="AccessDenied"):
        forget_purged_cluster(terraform, emr, pytest.fail)
    assert removals(run) == []

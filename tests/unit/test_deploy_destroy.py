"""`make destroy`: work stops first, then buckets are emptied, and the state is deleted last."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.stub import ANY

from deploy import destroy
from deploy.destroy import (
    buckets_of,
    delete_state,
    destroy_with_terraform,
    empty_bucket,
    stop_work,
)
from deploy.environments import read_environment
from deploy.terraform import terraform_on
from superres.errors import PrerequisiteError
from tests.support.fake_aws import Recorder, stubbed
from tests.support.paths import ROOT

ACCOUNT = "123456789012"
STATE = f"superres-state-{ACCOUNT}-eu-central-1"


def cluster(state: str) -> dict[str, object]:
    return {"Clusters": [{"Id": "j-1", "Name": "superres-dev", "Status": {"State": state}}]}


def test_executions_are_stopped_then_clusters_terminated_and_awaited():
    stepfunctions, executions = stubbed("stepfunctions")
    emr, clusters = stubbed("emr")
    running = {
        "executionArn": "arn:aws:states:eu-central-1:123456789012:execution:superres-dev:n",
        "stateMachineArn": "arn",
        "name": "n",
        "status": "RUNNING",
        "startDate": datetime(2026, 1, 31, tzinfo=UTC),
    }
    executions.add_response("list_executions", {"executions": [running]})
    executions.add_response(
        "stop_execution",
        {"stopDate": datetime(2026, 1, 31, tzinfo=UTC)},
        {"executionArn": running["executionArn"], "cause": "make destroy"},
    )
    clusters.add_response("list_clusters", cluster("RUNNING"))
    clusters.add_response(
        "set_termination_protection", {}, {"JobFlowIds": ["j-1"], "TerminationProtected": False}
    )
    clusters.add_response("terminate_job_flows", {}, {"JobFlowIds": ["j-1"]})
    # Terminated only once.
    clusters.add_response("list_clusters", cluster("TERMINATING"))
    clusters.add_response("list_clusters", {"Clusters": []})
    lines: list[str] = []
    pauses: list[float] = []
    stop_work(read_environment("dev"), "arn", stepfunctions, emr, lines.append, pauses.append)
    assert lines == ["stopping execution n", "terminating j-1"]
    assert len(pauses) == 2
    executions.assert_no_pending_responses()
    clusters.assert_no_pending_responses()


def test_clusters_that_do_not_terminate_are_an_error(monkeypatch):
    monkeypatch.setattr(destroy, "_MAX_WAITS", 2)
    emr, clusters = stubbed("emr")
    for _ in range(2):
        clusters.add_response("list_clusters", cluster("TERMINATING"))
    with pytest.raises(PrerequisiteError, match="clusters of superres-dev do not terminate"):
        stop_work(
            read_environment("dev"), None, stubbed("stepfunctions")[0], emr, print, lambda _: None
        )


def test_buckets_are_found_in_all_modules_of_the_state(tmp_path):
    def bucket(name: str, mode: str = "managed") -> dict[str, object]:
        kind = "aws_s3_bucket"
        address = f"{kind}.{name}"
        return {"address": address, "mode": mode, "type": kind, "values": {"bucket": name}}

    key = {"address": "aws_kms_key.x", "mode": "managed", "type": "aws_kms_key", "values": {}}
    storage = {"resources": [bucket("raw"), key, bucket("not-ours", "data")]}
    root = {"resources": [bucket("work")], "child_modules": [{"child_modules": [storage]}]}
    run = Recorder({"show": json.dumps({"values": {"root_module": root}})})
    assert buckets_of(terraform_on(tmp_path, tmp_path / "d" / "x", run)) == ["raw", "work"]
    run = Recorder({"show": '{"format_version": "1.0"}'})
    assert buckets_of(terraform_on(tmp_path, tmp_path / "d" / "x", run)) == []


def versions(count: int, markers: int = 0) -> dict[str, object]:
    return {
        "Versions": [{"Key": f"k{n}", "VersionId": f"v{n}"} for n in range(count)],
        "DeleteMarkers": [{"Key": f"k{n}", "VersionId": f"m{n}"} for n in range(markers)],
    }


def test_versions_and_markers_are_deleted_a_thousand_at_a_time():
    s3, stub = stubbed("s3")
    stub.add_response("list_object_versions", versions(999, 2))
    stub.add_response("delete_objects", {}, {"Bucket": "b", "Delete": ANY})
    stub.add_response(
        "delete_objects",
        {},
        {"Bucket": "b", "Delete": {"Objects": [{"Key": "k1", "VersionId": "m1"}], "Quiet": True}},
    )
    assert empty_bucket(s3, "b") == 1001
    stub.assert_no_pending_responses()


def test_a_missing_bucket_counts_as_empty():
    s3, stub = stubbed("s3")
    stub.add_client_error("list_object_versions", "NoSuchBucket")
    assert empty_bucket(s3, "b") == 0


def test_an_object_that_cannot_be_deleted_is_named():
    s3, stub = stubbed("s3")
    stub.add_response("list_object_versions", versions(1))
    stub.add_response("delete_objects", {"Errors": [{"Key": "k0", "Code": "AccessDenied"}]})
    with pytest.raises(PrerequisiteError, match=r"s3://b/k0: cannot be deleted \(AccessDenied\)"):
        empty_bucket(s3, "b")


class FailsOnce(Recorder):
    """Terraform that fails the first time."""

    def __call__(self, command, environment, capture):
        self.answers["destroy"] = 0 if self.calls else 1
        return super().__call__(command, environment, capture)


def test_buckets_that_received_logs_meanwhile_are_emptied_again(tmp_path, monkeypatch):
    dev = read_environment("dev")
    s3, stub = stubbed("s3")
    stub.add_response("list_object_versions", {})
    stub.add_response("list_object_versions", versions(1))
    stub.add_response("delete_objects", {})
    run = FailsOnce()
    terraform = terraform_on(tmp_path, tmp_path / "d" / "dev", run)
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # as if there were a build/package
    destroy_with_terraform(terraform, dev, ["b"], s3)
    assert run.verbs == ["destroy", "destroy"]
    # Not build/package, which Terraform would check against the values.
    assert run.calls[0][2:] == [
        "destroy",
        "-auto-approve",
        f"-var-file={dev.values}",
        "-var=package_dir=tests/package",
    ]


def test_a_failure_with_empty_buckets_is_not_tried_again(tmp_path):
    s3, stub = stubbed("s3")
    for _ in range(2):
        stub.add_response("list_object_versions", {})
    run = Recorder({"destroy": 1})
    with pytest.raises(PrerequisiteError, match="terraform destroy failed"):
        destroy_with_terraform(
            terraform_on(tmp_path, tmp_path / "d" / "dev", run), read_environment("dev"), ["b"], s3
        )
    assert run.verbs == ["destroy"]


@pytest.mark.parametrize("remaining", [0, 1])
def test_the_state_bucket_is_deleted_with_the_last_environment(remaining):
    s3, stub = stubbed("s3")
    stub.add_response(
        "list_object_versions", versions(1), {"Bucket": STATE, "Prefix": "dev.tfstate"}
    )
    stub.add_response("delete_objects", {})
    stub.add_response("list_objects_v2", {"KeyCount": remaining})
    if not remaining:
        stub.add_response("list_object_versions", {}, {"Bucket": STATE, "Prefix": ""})
        stub.add_response("delete_bucket", {}, {"Bucket": STATE})
    assert delete_state(s3, read_environment("dev"), ACCOUNT) is (remaining == 0)
    stub.assert_no_pending_responses()


def test_the_sample_package_has_a_gpu_wheelhouse():
    package = ROOT / "infra" / "tests" / "package"
    assert "gpu" in json.loads((package / "manifest.json").read_text("utf-8"))["wheelhouses"]

"""`make destroy`: work stops first, buckets lose every version, and the state goes last."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.stub import ANY

from deploy import destroy
from deploy.destroy import (
    buckets_of,
    check_protection,
    destroy_with_terraform,
    empty_bucket,
    forget_state,
    stop_work,
)
from deploy.environments import read_environment
from deploy.terraform import terraform_on
from superres.errors import PrerequisiteError
from tests.support.fake_aws import Recorder, stubbed
from tests.support.paths import ROOT
from tests.support.required_tools import require

ACCOUNT = "123456789012"
STATE = f"superres-state-{ACCOUNT}-eu-central-1"


def cluster(state: str) -> dict[str, object]:
    return {"Clusters": [{"Id": "j-1", "Name": "superres-dev", "Status": {"State": state}}]}


def test_executions_are_stopped_before_clusters_are_terminated_and_waited_for():
    states, executions = stubbed("stepfunctions")
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
    # Asked for once only.
    clusters.add_response("list_clusters", cluster("TERMINATING"))
    clusters.add_response("list_clusters", {"Clusters": []})
    lines: list[str] = []
    pauses: list[float] = []
    stop_work(read_environment("dev"), "arn", states, emr, lines.append, pauses.append)
    assert lines == ["stopping execution n", "terminating j-1"]
    assert len(pauses) == 2
    executions.assert_no_pending_responses()
    clusters.assert_no_pending_responses()


def test_clusters_that_stay_are_told(monkeypatch):
    monkeypatch.setattr(destroy, "_MOST_WAITS", 2)
    emr, clusters = stubbed("emr")
    for _ in range(2):
        clusters.add_response("list_clusters", cluster("TERMINATING"))
    with pytest.raises(PrerequisiteError, match="clusters of superres-dev do not go away"):
        stop_work(
            read_environment("dev"), None, stubbed("stepfunctions")[0], emr, print, lambda _: None
        )


def test_buckets_are_those_of_the_state_however_deep(tmp_path):
    def bucket(name: str, mode: str = "managed") -> dict[str, object]:
        return {"mode": mode, "type": "aws_s3_bucket", "values": {"bucket": name}}

    key = {"mode": "managed", "type": "aws_kms_key", "values": {}}
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


def test_versions_and_markers_go_a_thousand_at_a_time():
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


def test_a_bucket_that_is_gone_is_empty():
    s3, stub = stubbed("s3")
    stub.add_client_error("list_object_versions", "NoSuchBucket")
    assert empty_bucket(s3, "b") == 0


def test_an_object_that_stays_is_named():
    s3, stub = stubbed("s3")
    stub.add_response("list_object_versions", versions(1))
    stub.add_response("delete_objects", {"Errors": [{"Key": "k0", "Code": "AccessDenied"}]})
    with pytest.raises(PrerequisiteError, match=r"s3://b/k0: cannot be deleted \(AccessDenied\)"):
        empty_bucket(s3, "b")


class OnceFailing(Recorder):
    """Terraform that fails the first time."""

    def __call__(self, command, environment, capture):
        self.answers["destroy"] = 0 if self.calls else 1
        return super().__call__(command, environment, capture)


def test_logs_that_came_meanwhile_are_emptied_once_more(tmp_path, monkeypatch):
    dev = read_environment("dev")
    s3, stub = stubbed("s3")
    stub.add_response("list_object_versions", {})
    stub.add_response("list_object_versions", versions(1))
    stub.add_response("delete_objects", {})
    run = OnceFailing()
    terraform = terraform_on(tmp_path, tmp_path / "d" / "dev", run)
    monkeypatch.setattr(Path, "is_file", lambda _: True)  # as if there were a build/package
    destroy_with_terraform(terraform, dev, ["b"], s3)
    assert run.verbs == ["destroy", "destroy"]
    # Whatever build/package holds, or does not: Terraform would check it against the values.
    assert run.calls[0][2:] == [
        "destroy",
        "-auto-approve",
        f"-var-file={dev.values}",
        "-var=package_dir=tests/package",
    ]


def test_a_destroy_that_fails_over_empty_buckets_fails(tmp_path):
    s3, stub = stubbed("s3")
    for _ in range(2):
        stub.add_response("list_object_versions", {})
    run = Recorder({"destroy": 1})
    with pytest.raises(PrerequisiteError, match="terraform destroy failed"):
        destroy_with_terraform(
            terraform_on(tmp_path, tmp_path / "d" / "dev", run), read_environment("dev"), ["b"], s3
        )
    assert run.verbs == ["destroy"]


@pytest.mark.parametrize("left", [0, 1])
def test_the_state_bucket_goes_with_the_last_environment(left):
    s3, stub = stubbed("s3")
    stub.add_response(
        "list_object_versions", versions(1), {"Bucket": STATE, "Prefix": "dev.tfstate"}
    )
    stub.add_response("delete_objects", {})
    stub.add_response("list_objects_v2", {"KeyCount": left})
    if not left:
        stub.add_response("list_object_versions", {}, {"Bucket": STATE, "Prefix": ""})
        stub.add_response("delete_bucket", {}, {"Bucket": STATE})
    assert forget_state(s3, read_environment("dev"), ACCOUNT) is (left == 0)
    stub.assert_no_pending_responses()


def test_what_is_protected_is_left_alone():
    require("terraform", "install Terraform 1.11 or later")
    check_protection(read_environment("dev"))
    with pytest.raises(PrerequisiteError, match=r"deletion_protection = false into prod\.tfvars"):
        check_protection(read_environment("prod"))


def test_the_package_in_small_fits_all_values():
    package = ROOT / "infra" / "tests" / "package"
    assert "gpu" in json.loads((package / "manifest.json").read_text("utf-8"))["wheelhouses"]

"""`make deploy`: what stops it, and what it passes on."""

from types import SimpleNamespace
from typing import Any

import pytest

from deploy import apply, preflight
from deploy.__main__ import execute
from deploy.cli import deploy as command
from deploy.cli import shared
from deploy.environments import Deployed, read_environment
from deploy.preflight import Finding, Group, Needs

NONE = Group("task", (), 0)
NEEDS = Needs("emr-spark-8.1.0", False, NONE, NONE, NONE, False, (), 2, (), None)


@pytest.fixture
def opened(monkeypatch) -> dict[str, Any]:
    """Replaces AWS, Terraform and the package; returns what deploying was called with."""
    found: list[Finding] = []
    calls: dict[str, Any] = {"findings": found}
    sts = SimpleNamespace(meta=SimpleNamespace(partition="aws"))
    clients = SimpleNamespace(s3="s3", sts=sts)

    def open_environment(name: str) -> tuple[Any, Any, str]:
        return read_environment(name), clients, "123456789012"

    def findings(needs: Needs, scope: Any, name: str, _clients: Any) -> list[Finding]:
        calls["scope"], calls["name"] = scope, name
        return found

    def run(environment: Any, account: str, s3: Any, *_: Any, **named: Any) -> Deployed:
        calls.update(named, account=account)
        return Deployed(environment, {"config_uri": "s3://config"})

    monkeypatch.setattr(shared, "open_environment", open_environment)
    monkeypatch.setattr(command, "check_version", lambda: "1.12.0")
    monkeypatch.setattr(command, "build_and_print", lambda roles: calls.update(roles=roles))
    monkeypatch.setattr(preflight, "needs_of", lambda _: NEEDS)
    monkeypatch.setattr(preflight, "findings", findings)
    monkeypatch.setattr(preflight, "local_findings", lambda *_: found)
    monkeypatch.setattr(apply, "deploy", run)
    return calls


def test_a_finding_that_stops_comes_before_anything_is_built(opened, capsys):
    opened["findings"] += [Finding("no zone; choose"), Finding("old version", stops=False)]
    assert execute(["deploy", "--env", "dev"]) == 1
    shown = capsys.readouterr().err
    assert "no zone; choose\nwarning: old version\n" in shown
    assert "nothing was deployed; fix this, then run make deploy ENV=dev" in shown
    assert "roles" not in opened


def test_warnings_alone_stop_nothing(opened, capsys):
    opened["findings"] += [Finding("quotas could not be checked", stops=False)]
    assert execute(["deploy", "--env", "dev"]) == 0
    shown = capsys.readouterr()
    assert "warning: quotas could not be checked" in shown.err
    assert "superres-dev is deployed in eu-central-1" in shown.out
    # What the caller may do is asked for this environment.
    assert opened["name"] == "superres-dev"
    assert vars(opened["scope"]) == {
        "partition": "aws",
        "account": "123456789012",
        "region": "eu-central-1",
        "project": "superres",
    }
    assert "gpu" not in opened["roles"]


def test_what_it_costs_is_known_on_aws_and_not_in_the_local_cloud(opened):
    assert execute(["deploy", "--env", "dev"]) == 0
    estimate = opened["estimate"]
    assert (estimate.needs, estimate.region) == (NEEDS, "eu-central-1")
    assert execute(["deploy", "--env", "local"]) == 0
    assert opened["estimate"] is None

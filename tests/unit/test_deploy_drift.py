"""What `make status` says about differences between what exists and this checkout."""

import json
import sys
from pathlib import Path

import pytest

from deploy import drift
from deploy.drift import drift_line, run_bounded
from deploy.environments import Deployed, read_environment
from tests.support.fake_aws import Recorder


@pytest.fixture
def package(tmp_path: Path, monkeypatch) -> Path:
    """Returns a package of release 1.0, and puts Terraform's data into the test's own folder."""
    monkeypatch.setattr(drift, "DATA", tmp_path / "data")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "manifest.json").write_text('{"release": "1.0"}')
    return tmp_path / "package"


def deployed(release: str = "1.0") -> Deployed:
    return Deployed(read_environment("dev"), {"release": release})


def planned(*addresses: str) -> str:
    changes = [("update", address) for address in addresses] + [("no-op", "aws_vpc.this")]
    return json.dumps(
        {
            "resource_changes": [
                {"address": address, "mode": "managed", "change": {"actions": [action]}}
                for action, address in changes
            ]
        }
    )


def test_nothing_differs(package):
    run = Recorder({"show": planned()})
    assert drift_line(deployed(), package, run) == "as deployed: a deployment would change nothing"
    # Neither a lock nor a change.
    assert run.verbs == ["get", "plan", "show"]
    plan = run.calls[1]
    assert "-lock=false" in plan
    # Another path of the same package would differ from the state.
    assert not any("package_dir" in part for part in plan)


def test_what_differs_is_counted_and_named(package):
    run = Recorder({"show": planned("aws_a.x", "module.b.aws_c.y")})
    assert drift_line(deployed(), package, run) == (
        "2 differ from this checkout (same release): aws_a.x, module.b.aws_c.y; see make deploy "
        "ENV=dev"
    )
    many = Recorder({"show": planned(*(f"aws_a.x{number}" for number in range(8)))})
    assert "8 differ" in drift_line(deployed(), package, many)
    assert "aws_a.x5 and 2 more;" in drift_line(deployed(), package, many)


def test_another_release_is_named(package):
    line = drift_line(deployed("0.9"), package, Recorder({"show": planned("aws_a.x")}))
    assert "(release 1.0, 0.9 is deployed)" in line


def test_a_plan_that_fails_or_lacks_a_package_is_said(package, tmp_path):
    line = drift_line(deployed(), package, Recorder({"plan": 1}))
    assert line == "not compared: terraform plan: It broke: Because of this."
    missing = drift_line(deployed(), tmp_path / "none", Recorder())
    assert missing.startswith("not compared: there is no package in ")
    assert "run make package, then make status ENV=dev" in missing


def test_a_plan_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(drift, "_SECONDS", 0.2)
    done = run_bounded([sys.executable, "-c", "import time; time.sleep(600)"], {}, True)
    assert done.returncode == 124
    assert "no answer within 0 seconds" in done.stderr

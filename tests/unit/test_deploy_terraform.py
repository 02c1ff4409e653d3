"""How the commands run Terraform: version, provider mirrors, environments, plan and outputs."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import terraform
from deploy.apply import deploy, next_steps
from deploy.cost import Estimate
from deploy.environments import Deployed, Environment, read_deployed, read_environment
from deploy.preflight import Group, Needs
from deploy.prices import read_prices
from superres.errors import ConfigError, PrerequisiteError
from tests.support.fake_aws import Recorder, stubbed
from tests.support.paths import ROOT
from tests.support.terraform import write_cli_configuration

INFRA = ROOT / "infra"
ACCOUNT = "123456789012"
BUCKET = f"superres-state-{ACCOUNT}-eu-central-1"


@pytest.fixture
def dev() -> Environment:
    return Environment("dev", "superres", "eu-central-1", INFRA / "environments" / "dev.tfvars")


# ---- the version


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ('{"terraform_version": "1.9.8"}', "Terraform 1.9.8 is too old; install Terraform 1.11"),
        ("nonsense", "prints no version; install Terraform"),
    ],
)
def test_an_unusable_terraform_is_an_error(printed, message, tmp_path, monkeypatch):
    stub = tmp_path / "terraform"
    stub.write_text("#!/bin/sh\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=message):
        terraform.check_version(Recorder({"version": printed}))
    stub.unlink()
    with pytest.raises(PrerequisiteError, match="not on PATH; install Terraform"):
        terraform.check_version(Recorder())


def test_the_version_is_read_after_a_warning(tmp_path, monkeypatch):
    (tmp_path / "terraform").write_text("#!/bin/sh\n")
    (tmp_path / "terraform").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    printed = 'Warning: …\n{\n  "terraform_version": "1.12.0-beta1"}'
    assert terraform.check_version(Recorder({"version": printed})) == "1.12.0-beta1"


# ---- provider mirrors


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., str | None]:
    """Writes a configuration for the home folder ``tmp_path``, which may have a mirror."""
    return lambda **variables: write_cli_configuration(tmp_path, **variables)


@pytest.mark.parametrize("packed", [False, True])
def test_a_mirror_with_the_version_is_the_only_source(configure, tmp_path, packed):
    mirror = tmp_path / ".terraform.d" / "plugins"
    provider = mirror / "registry.terraform.io" / "hashicorp" / "aws"
    provider.mkdir(parents=True)
    if packed:
        (provider / "terraform-provider-aws_5.100.0_linux_amd64.zip").touch()
    else:
        (provider / "5.100.0" / "linux_amd64").mkdir(parents=True)
    written = configure()
    assert f'path    = "{mirror}"' in written
    assert 'include = ["registry.terraform.io/hashicorp/aws"]' in written
    assert 'exclude = ["registry.terraform.io/hashicorp/aws"]' in written


def test_a_mirror_with_another_version_is_ignored(configure, tmp_path, monkeypatch):
    provider = tmp_path / "share/terraform/plugins/registry.terraform.io/hashicorp/aws"
    (provider / "5.99.0").mkdir(parents=True)
    monkeypatch.setattr(terraform, "mirror_roots", lambda _: [tmp_path / "share"])
    written = configure()
    assert "filesystem_mirror" not in written
    assert "exclude = []" in written
    (provider / "5.100.0").mkdir()
    assert str(tmp_path / "share/terraform/plugins") in configure()


def test_default_and_administrators_mirror_folders_are_searched():
    roots = terraform.mirror_roots({"HOME": "/home/ann", "XDG_DATA_HOME": "/data"})
    assert roots[:2] == [
        Path("/home/ann/.terraform.d/plugins"),
        Path("/data/terraform/plugins"),
    ]
    assert {Path("/usr/local/share/terraform/plugins"), Path("/opt")} <= set(roots)


def test_the_users_own_configuration_applies(configure, tmp_path):
    own = tmp_path / "own.tfrc"
    own.touch()
    assert configure(TF_CLI_CONFIG_FILE=str(own)) is None
    (tmp_path / ".terraformrc").touch()
    assert configure() is None
    # A configuration that is named but does not exist is ignored.
    assert configure(TF_CLI_CONFIG_FILE=str(tmp_path / "gone")) is not None


# ---- environments


def test_an_environment_is_read_from_its_values():
    environment = read_environment("dev")
    assert environment.full_name == "superres-dev"
    assert environment.region == "eu-central-1"
    assert environment.state_bucket(ACCOUNT) == BUCKET
    assert environment.state_key == "dev.tfstate"


def test_an_unknown_environment_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ConfigError, match=r"ENV=stage: no .*stage\.tfvars; there are dev, local"):
        read_environment("stage")


def test_an_environment_without_a_region_is_an_error(tmp_path):
    (tmp_path / "environments").mkdir()
    (tmp_path / "variables.tf").write_text("")
    (tmp_path / "environments" / "x.tfvars").write_text('environment = "x"\nproject = "p"\n')
    with pytest.raises(ConfigError, match=r'region is missing; add region = "…"'):
        read_environment("x", tmp_path)


# ---- running Terraform


def test_the_first_error_of_terraform_is_reported(tmp_path):
    run = Recorder({"output": 1})
    with pytest.raises(PrerequisiteError, match=r"^terraform output: It broke: Because of this\.$"):
        terraform.terraform_on(tmp_path, tmp_path / "data" / "dev", run).outputs()
    assert run.environments[0]["TF_DATA_DIR"] == str(tmp_path / "data" / "dev")
    assert run.environments[0]["TF_INPUT"] == "0"


def s3_with_state_bucket(exists: bool):
    s3, stub = stubbed("s3")
    if exists:
        stub.add_response("head_bucket", {}, {"Bucket": BUCKET})
    else:
        stub.add_client_error("head_bucket", "404", http_status_code=404)
    return s3


@pytest.fixture
def data(tmp_path: Path, monkeypatch) -> Path:
    """Puts Terraform's working data into the test's own folder."""
    for module in ("deploy.apply", "deploy.environments"):
        monkeypatch.setattr(f"{module}.DATA", tmp_path / "data")
    return tmp_path / "data"


def outputs(**values: object) -> str:
    return json.dumps({name: {"value": value} for name, value in values.items()})


def test_deploy_creates_the_state_bucket_plans_confirms_and_applies(dev, data):
    questions: list[str] = []

    def confirm() -> bool:
        questions.append("apply?")
        return True

    run = Recorder({"plan": 2, "output": outputs(page_url="https://page")})
    lines: list[str] = []
    deployed = deploy(dev, ACCOUNT, s3_with_state_bucket(False), confirm, lines.append, run)
    assert run.verbs == ["init", "apply", "init", "plan", "apply", "output"]
    first = run.calls[1]
    assert f"-chdir={INFRA / 'state'}" in first
    assert "-var=region=eu-central-1" in first
    backend = run.calls[2]
    for part in (f"bucket={BUCKET}", "key=dev.tfstate", "region=eu-central-1"):
        assert f"-backend-config={part}" in backend
    plan, apply = run.calls[3], run.calls[4]
    assert f"-var-file={dev.values}" in plan
    # The plan that was shown is the one applied.
    assert plan[-1] == f"-out={apply[-1]}"
    assert questions == ["apply?"]
    assert deployed["page_url"] == "https://page"
    assert lines == [f"creating the state bucket, {BUCKET}"]


def test_without_confirmation_nothing_is_applied(dev, data):
    run = Recorder({"plan": 2})
    deployed = deploy(dev, ACCOUNT, s3_with_state_bucket(True), lambda: False, print, run)
    assert deployed is None
    assert run.verbs == ["init", "plan"]


def test_a_plan_without_changes_needs_no_confirmation(dev, data):
    def confirm() -> bool:
        raise AssertionError

    run = Recorder({"plan": 0, "output": "{}"})
    assert deploy(dev, ACCOUNT, s3_with_state_bucket(True), confirm, print, run) is not None
    assert run.verbs == ["init", "plan", "output"]


NAT = {"address": "aws_nat_gateway.this", "type": "aws_nat_gateway", "mode": "managed"}
SHOWN = {
    "resource_changes": [NAT | {"change": {"actions": ["create"], "after": {}}}],
    "values": {"root_module": {"resources": [NAT | {"values": {}}]}},
}


def smoke_estimate() -> Estimate:
    nothing = Group("task", (), 0)
    needs = Needs("emr-spark-8.1.0", False, nothing, nothing, nothing, False, (), 2, (), None)
    return Estimate(needs, read_prices("eu-central-1"), "eu-central-1")


def test_what_the_plan_costs_is_reported_before_the_question(dev, data):
    events: list[str] = []
    run = Recorder({"plan": 2, "show": json.dumps(SHOWN)})

    def confirm() -> bool:
        events.append("apply?")
        return False

    bucket = s3_with_state_bucket(True)
    deploy(dev, ACCOUNT, bucket, confirm, events.append, run, smoke_estimate())
    assert run.verbs == ["init", "plan", "show"]
    assert "  always: $ 0.052 an hour, $ 38 a month" in events
    assert events[-1] == "apply?"


def test_a_failed_apply_says_what_is_billed_and_how_to_go_on(dev, data):
    run = Recorder({"plan": 2, "apply": 1, "show": json.dumps(SHOWN)})
    bucket = s3_with_state_bucket(True)
    with pytest.raises(PrerequisiteError) as failed:
        deploy(dev, ACCOUNT, bucket, lambda: True, lambda _: None, run, smoke_estimate())
    line = str(failed.value)
    assert "\n" not in line
    assert line.startswith("terraform apply failed; see its output above; what exists is billed")
    for part in ("$ 0.05 an hour (1 × NAT gateway)", "make deploy ENV=dev goes on", "make destroy"):
        assert part in line


def test_a_state_that_could_not_be_stored_is_named(dev, data, tmp_path, monkeypatch):
    monkeypatch.setattr("deploy.apply.INFRA", tmp_path)
    state = tmp_path / "errored.tfstate"
    bucket = s3_with_state_bucket(True)

    class Losing(Recorder):
        def __call__(self, *arguments):
            done = super().__call__(*arguments)
            if self.verbs[-1] == "apply":
                state.touch()
            return done

    with pytest.raises(PrerequisiteError, match=r"state push errored\.tfstate"):
        deploy(dev, ACCOUNT, bucket, lambda: True, print, Losing({"plan": 2, "apply": 1}))
    run = Recorder({})
    with pytest.raises(PrerequisiteError, match=r"an earlier deployment broke off: .*force-unlock"):
        deploy(dev, ACCOUNT, s3_with_state_bucket(True), lambda: True, print, run)
    assert "plan" not in run.verbs


def test_an_interrupted_apply_says_it_too(dev, data):
    class Interrupted(Recorder):
        def __call__(self, command, environment, capture):
            done = super().__call__(command, environment, capture)
            if self.verbs[-1] == "apply":
                raise KeyboardInterrupt
            return done

    lines: list[str] = []
    run = Interrupted({"plan": 2, "show": json.dumps(SHOWN)})
    bucket = s3_with_state_bucket(True)
    with pytest.raises(KeyboardInterrupt):
        deploy(dev, ACCOUNT, bucket, lambda: True, lines.append, run, smoke_estimate())
    assert lines[-1].startswith("Interrupted; what exists is billed, about $ 0.05 an hour")
    assert lines[-1].endswith("make destroy ENV=dev removes it")


def test_an_apply_that_fails_with_an_unreadable_state_says_what_it_knows(dev, data):
    class Unreadable(Recorder):
        def __call__(self, command, environment, capture):
            if "apply" in self.verbs:
                self.answers["show"] = 1
            return super().__call__(command, environment, capture)

    run = Unreadable({"plan": 2, "apply": 1, "show": json.dumps(SHOWN)})
    bucket = s3_with_state_bucket(True)
    with pytest.raises(PrerequisiteError, match="part of it may exist and be billed: make deploy"):
        deploy(dev, ACCOUNT, bucket, lambda: True, lambda _: None, run, smoke_estimate())


def test_ctrl_c_waits_until_terraform_has_written_its_state(tmp_path):
    state = tmp_path / "state"
    script = f"trap 'sleep 1; echo all > {state}; exit 1' INT; echo ready; sleep 60 & wait"
    program = (
        "from deploy.terraform import run_command; import os; "
        f"run_command(['sh', '-c', {script!r}], os.environ, False)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A shell ignores it for what it starts in the background, and so do all descendants.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        # As a terminal does it: to all processes in the foreground.
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) != 0
    assert state.read_text() == "all\n"


def test_a_failed_plan_is_an_error(dev, data):
    run = Recorder({"plan": 1})
    with pytest.raises(PrerequisiteError, match="terraform plan failed"):
        deploy(dev, ACCOUNT, s3_with_state_bucket(True), lambda: True, print, run)


def test_the_next_steps_are_printed(dev):
    deployed = Deployed(
        dev,
        {
            "page_url": "https://page",
            "uploads_url": "https://page/uploads",
            "tokens": {"notifier": "superres-dev/token"},
            "config_uri": "s3://artifacts/dev.yaml",
        },
    )
    text = "\n".join(next_steps(deployed))
    for part in (
        "https://page/uploads",
        "--secret-id superres-dev/token",
        "s3://artifacts/dev.yaml",
        "make submit ENV=dev",
    ):
        assert part in text
    local = Deployed(read_environment("local"), deployed.outputs)
    steps = "\n".join(next_steps(local))
    assert "https://page" not in steps  # nothing listens there
    assert "--secret-id" not in steps  # nor does anything create the tokens


@pytest.mark.parametrize(
    ("page", "ports", "local"),
    [
        ("http://internal-x.elb.amazonaws.com", "portNumber=80,localPortNumber=8080", "8080"),
        ("https://gallery.example.org", "portNumber=443,localPortNumber=8443", "8443"),
    ],
)
def test_the_command_that_reaches_an_internal_load_balancer_is_printed(dev, page, ports, local):
    outputs = {
        "page_url": page,
        "config_uri": "s3://artifacts/dev.yaml",
        "load_balancer_dns_name": "internal-x.elb.amazonaws.com",
        "service_groups": {"ingestion": "superres-dev-i", "notifier": "superres-dev-n"},
    }
    text = "\n".join(next_steps(Deployed(dev, outputs)))
    for part in (
        "aws ssm start-session --region eu-central-1 --target ",
        "--auto-scaling-group-names superres-dev-n ",
        f"--parameters host=internal-x.elb.amazonaws.com,{ports}",
        f"{page.partition(':')[0]}://localhost:{local}",
    ):
        assert part in text
    outputs["load_balancer_dns_name"] = "x.elb.amazonaws.com"
    assert "ssm" not in "\n".join(next_steps(Deployed(dev, outputs)))


def test_without_a_load_balancer_the_commands_that_reach_both_services_are_printed(dev):
    outputs = {
        "page_url": "http://localhost:8080",
        "uploads_url": "http://localhost:8081/uploads",
        "config_uri": "s3://artifacts/dev.yaml",
        "load_balancer_dns_name": None,
        "service_groups": {"ingestion": "superres-dev-i", "notifier": "superres-dev-n"},
    }
    lines = next_steps(Deployed(dev, outputs))
    commands = [line for line in lines if "aws ssm start-session" in line]
    for command, group, port in zip(commands, "ni", (8080, 8081), strict=True):
        assert f"--auto-scaling-group-names superres-dev-{group} " in command
        assert command.endswith(f"--parameters portNumber={port},localPortNumber={port}")


def test_outputs_are_read_from_the_state(dev, data):
    sts, stub = stubbed("sts")
    stub.add_response("get_caller_identity", {"Account": ACCOUNT})
    run = Recorder({"output": outputs(state_machine_arn="arn", cluster_id=None)})
    deployed = read_deployed(dev, s3_with_state_bucket(True), sts, run)
    assert run.verbs == ["init", "output"]
    assert deployed["state_machine_arn"] == "arn"
    assert deployed.get("cluster_id") is None
    with pytest.raises(PrerequisiteError, match=r"superres-dev has no cluster_id: .*make deploy"):
        deployed["cluster_id"]


def test_reading_outputs_before_a_deployment_names_the_remedy(dev, data):
    sts, stub = stubbed("sts")
    stub.add_response("get_caller_identity", {"Account": ACCOUNT})
    run = Recorder()
    deployed = read_deployed(dev, s3_with_state_bucket(False), sts, run)
    assert run.calls == []
    with pytest.raises(PrerequisiteError, match="run make deploy ENV=dev"):
        deployed["state_machine_arn"]

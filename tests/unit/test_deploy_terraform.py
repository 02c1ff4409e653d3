"""Terraform from the commands: version, provider, values, and the plan that is asked about."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy import terraform
from deploy.apply import deploy, fleets_of, in_words
from deploy.environments import Deployed, Environment, read_deployed, read_environment
from deploy.preflight import Group
from superres.errors import ConfigError, PrerequisiteError
from tests.support.fake_aws import Recorder, stubbed
from tests.support.paths import ROOT
from tests.support.required_tools import require

INFRA = ROOT / "infra"
ACCOUNT = "123456789012"
BUCKET = f"superres-state-{ACCOUNT}-eu-central-1"


@pytest.fixture
def dev() -> Environment:
    return Environment("dev", "superres", "eu-central-1", INFRA / "environments" / "dev.tfvars")


# ---- the version


@pytest.mark.parametrize(
    ("printed", "complaint"),
    [
        ('{"terraform_version": "1.9.8"}', "Terraform 1.9.8 is too old; install Terraform 1.11"),
        ("nonsense", "gives no version; install Terraform"),
    ],
)
def test_a_terraform_that_will_not_do_is_named(printed, complaint, tmp_path, monkeypatch):
    stub = tmp_path / "terraform"
    stub.write_text("#!/bin/sh\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrerequisiteError, match=complaint):
        terraform.check_version(Recorder({"version": printed}))
    stub.unlink()
    with pytest.raises(PrerequisiteError, match="not on PATH; install Terraform"):
        terraform.check_version(Recorder())


def test_the_version_is_read_behind_a_warning(tmp_path, monkeypatch):
    (tmp_path / "terraform").write_text("#!/bin/sh\n")
    (tmp_path / "terraform").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    printed = 'Warning: …\n{\n  "terraform_version": "1.12.0-beta1"}'
    assert terraform.check_version(Recorder({"version": printed})) == "1.12.0-beta1"


# ---- where the provider comes from


def root_with_provider(folder: Path, version: str = "5.100.0") -> Path:
    folder.mkdir()
    (folder / "versions.tf").write_text(
        "terraform {\n  required_providers {\n    aws = {\n"
        f'      source  = "hashicorp/aws"\n      version = "{version}"\n    }}\n  }}\n}}\n'
    )
    return folder


@pytest.fixture
def configured(tmp_path: Path) -> Callable[..., str | None]:
    """What configuration is written for a home folder that may hold a mirror."""
    root = root_with_provider(tmp_path / "root")

    def configure(**environment: str) -> str | None:
        told = {"HOME": str(tmp_path), **environment}
        found = terraform.cli_configuration(root, tmp_path / "build" / "cli.tfrc", told)
        return found.read_text() if found else None

    return configure


@pytest.mark.parametrize("packed", [False, True])
def test_a_mirror_that_has_the_version_is_named_and_nothing_else_asked(
    configured, tmp_path, packed
):
    mirror = tmp_path / ".terraform.d" / "plugins"
    provider = mirror / "registry.terraform.io" / "hashicorp" / "aws"
    provider.mkdir(parents=True)
    if packed:
        (provider / "terraform-provider-aws_5.100.0_linux_amd64.zip").touch()
    else:
        (provider / "5.100.0" / "linux_amd64").mkdir(parents=True)
    written = configured()
    assert f'path    = "{mirror}"' in written
    assert 'include = ["registry.terraform.io/hashicorp/aws"]' in written
    assert 'exclude = ["registry.terraform.io/hashicorp/aws"]' in written


def test_a_mirror_with_another_version_is_left_for_the_registry(configured, tmp_path, monkeypatch):
    provider = tmp_path / "share/terraform/plugins/registry.terraform.io/hashicorp/aws"
    (provider / "5.99.0").mkdir(parents=True)
    monkeypatch.setattr(terraform, "mirror_roots", lambda _: [tmp_path / "share"])
    written = configured()
    assert "filesystem_mirror" not in written
    assert "exclude = []" in written
    (provider / "5.100.0").mkdir()
    assert str(tmp_path / "share/terraform/plugins") in configured()


def test_implied_mirrors_and_administrators_folders_are_looked_at():
    roots = terraform.mirror_roots({"HOME": "/home/ann", "XDG_DATA_HOME": "/data"})
    assert roots[:2] == [
        Path("/home/ann/.terraform.d/plugins"),
        Path("/data/terraform/plugins"),
    ]
    assert {Path("/usr/local/share/terraform/plugins"), Path("/opt")} <= set(roots)


def test_the_users_own_configuration_holds(configured, tmp_path):
    own = tmp_path / "own.tfrc"
    own.touch()
    assert configured(TF_CLI_CONFIG_FILE=str(own)) is None
    (tmp_path / ".terraformrc").touch()
    assert configured() is None
    # One that is named but not there must not stop us.
    assert configured(TF_CLI_CONFIG_FILE=str(tmp_path / "gone")) is not None


def test_terraform_takes_the_configuration_that_is_written(configured, tmp_path, monkeypatch):
    require("terraform", "install Terraform 1.11 or later")
    mirror = tmp_path / ".terraform.d" / "plugins"
    (mirror / "registry.terraform.io/hashicorp/aws/5.100.0").mkdir(parents=True)
    configured()
    done = subprocess.run(
        ["terraform", "version"],
        env={"PATH": "/usr/bin:/usr/local/bin", "CHECKPOINT_DISABLE": "1"}
        | {"TF_CLI_CONFIG_FILE": str(tmp_path / "build" / "cli.tfrc")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "problems with the CLI configuration" not in done.stdout + done.stderr


# ---- values and environments


def test_an_environment_is_read_from_its_values():
    environment = read_environment("dev")
    assert environment.full_name == "superres-dev"
    assert environment.region == "eu-central-1"
    assert environment.state_bucket(ACCOUNT) == BUCKET
    assert environment.state_key == "dev.tfstate"


def test_an_unknown_environment_is_named_with_those_there_are():
    with pytest.raises(ConfigError, match=r"ENV=stage: no .*stage\.tfvars; there are dev, local"):
        read_environment("stage")


def test_an_environment_without_a_region_is_refused(tmp_path):
    (tmp_path / "environments").mkdir()
    (tmp_path / "variables.tf").write_text("")
    (tmp_path / "environments" / "x.tfvars").write_text('environment = "x"\nproject = "p"\n')
    with pytest.raises(ConfigError, match=r'region is missing; write region = "…"'):
        read_environment("x", tmp_path)


@pytest.mark.parametrize("name", ["dev", "prod", "local"])
def test_fleets_are_what_terraform_makes_of_the_values(name):
    require("terraform", "install Terraform 1.11 or later")
    fleets = fleets_of(read_environment(name))
    assert fleets.release_label == "emr-spark-8.1.0"
    assert set(fleets.gpu_types) <= set(fleets.instance_types)
    assert bool(fleets.gpu_types) == (name != "local")
    primary, core, ingestion, notifier = fleets.on_demand
    assert {*primary.instance_types, *core.instance_types} <= set(fleets.instance_types)
    assert primary.instances == 1
    if name == "dev":
        assert core.instances == 1
        assert (ingestion, notifier) == (Group(("t3.medium",), 1), Group(("t3.small",), 1))


def test_a_name_that_is_spelled_wrong_is_refused(tmp_path):
    require("terraform", "install Terraform 1.11 or later")
    values = tmp_path / "x.tfvars"
    values.write_text('environment = "xx"\nregion = "eu-central-1"\nnotifer = {}\nkafak = {}\n')
    with pytest.raises(ConfigError, match=r"^\S+x\.tfvars: there is no variable [^\n]+$") as told:
        terraform.evaluate("var.project", values)
    assert "notifer" in str(told.value)
    assert "kafak" in str(told.value)


def test_a_wrong_value_is_told_in_one_line(tmp_path):
    require("terraform", "install Terraform 1.11 or later")
    values = tmp_path / "x.tfvars"
    values.write_text('environment = "dev"\nregion = "moon"\n')
    with pytest.raises(
        ConfigError, match=r"x\.tfvars: Invalid value for variable: .*region"
    ) as told:
        terraform.evaluate("var.region", values)
    assert "\n" not in str(told.value)


# ---- running it


def test_what_terraform_says_first_is_told(tmp_path):
    run = Recorder({"output": 1})
    with pytest.raises(PrerequisiteError, match=r"^terraform output: It broke: Because of this\.$"):
        terraform.terraform_on(tmp_path, tmp_path / "data" / "dev", run).outputs()
    assert run.environments[0]["TF_DATA_DIR"] == str(tmp_path / "data" / "dev")
    assert run.environments[0]["TF_INPUT"] == "0"


def state_bucket(there: bool):
    s3, stub = stubbed("s3")
    if there:
        stub.add_response("head_bucket", {}, {"Bucket": BUCKET})
    else:
        stub.add_client_error("head_bucket", "404", http_status_code=404)
    return s3


@pytest.fixture
def data(tmp_path: Path, monkeypatch) -> Path:
    """Terraform's working data in a folder of the test's own."""
    for module in ("deploy.apply", "deploy.environments"):
        monkeypatch.setattr(f"{module}.DATA", tmp_path / "data")
    return tmp_path / "data"


def outputs(**values: object) -> str:
    return json.dumps({name: {"value": value} for name, value in values.items()})


def test_deploy_makes_the_state_bucket_once_plans_asks_and_applies(dev, data):
    asked: list[str] = []

    def confirm() -> bool:
        asked.append("apply?")
        return True

    run = Recorder({"plan": 2, "output": outputs(page_url="https://page")})
    lines: list[str] = []
    deployed = deploy(dev, ACCOUNT, state_bucket(False), confirm, lines.append, run)
    assert run.verbs == ["init", "apply", "init", "plan", "apply", "output"]
    first = run.calls[1]
    assert f"-chdir={INFRA / 'state'}" in first
    assert "-var=region=eu-central-1" in first
    backend = run.calls[2]
    for part in (f"bucket={BUCKET}", "key=dev.tfstate", "region=eu-central-1"):
        assert f"-backend-config={part}" in backend
    plan, apply = run.calls[3], run.calls[4]
    assert f"-var-file={dev.values}" in plan
    # What is applied is what was shown.
    assert plan[-1] == f"-out={apply[-1]}"
    assert asked == ["apply?"]
    assert deployed["page_url"] == "https://page"
    assert lines == [f"making the bucket of the states, {BUCKET}"]


def test_a_no_applies_nothing(dev, data):
    run = Recorder({"plan": 2})
    told = deploy(dev, ACCOUNT, state_bucket(True), lambda: False, print, run)
    assert told is None
    assert run.verbs == ["init", "plan"]


def test_a_plan_without_changes_asks_nothing(dev, data):
    def confirm() -> bool:
        raise AssertionError

    run = Recorder({"plan": 0, "output": "{}"})
    assert deploy(dev, ACCOUNT, state_bucket(True), confirm, print, run) is not None
    assert run.verbs == ["init", "plan", "output"]


def test_a_plan_that_fails_stops(dev, data):
    run = Recorder({"plan": 1})
    with pytest.raises(PrerequisiteError, match="terraform plan failed"):
        deploy(dev, ACCOUNT, state_bucket(True), lambda: True, print, run)


def test_what_to_do_next_is_said_in_words(dev):
    deployed = Deployed(
        dev,
        {
            "page_url": "https://page",
            "uploads_url": "https://page/uploads",
            "tokens": {"notifier": "superres-dev/token"},
            "config_uri": "s3://artifacts/dev.yaml",
        },
    )
    text = "\n".join(in_words(deployed))
    for part in (
        "https://page/uploads",
        "--secret-id superres-dev/token",
        "s3://artifacts/dev.yaml",
        "make submit ENV=dev",
    ):
        assert part in text
    local = Deployed(read_environment("local"), deployed.outputs)
    assert "https://page" not in "\n".join(in_words(local))  # nothing answers there


@pytest.mark.parametrize(
    ("page", "ports", "local"),
    [
        ("http://internal-x.elb.amazonaws.com", "portNumber=80,localPortNumber=8080", "8080"),
        ("https://gallery.example.org", "portNumber=443,localPortNumber=8443", "8443"),
    ],
)
def test_how_a_laptop_reaches_an_internal_page_is_said(dev, page, ports, local):
    outputs = {
        "page_url": page,
        "config_uri": "s3://artifacts/dev.yaml",
        "load_balancer_dns_name": "internal-x.elb.amazonaws.com",
        "service_groups": {"ingestion": "superres-dev-i", "notifier": "superres-dev-n"},
    }
    text = "\n".join(in_words(Deployed(dev, outputs)))
    for part in (
        "aws ssm start-session --region eu-central-1 --target ",
        "--auto-scaling-group-names superres-dev-n ",
        f"--parameters host=internal-x.elb.amazonaws.com,{ports}",
        f"{page.partition(':')[0]}://localhost:{local}",
    ):
        assert part in text
    outputs["load_balancer_dns_name"] = "x.elb.amazonaws.com"
    assert "ssm" not in "\n".join(in_words(Deployed(dev, outputs)))


def test_outputs_are_read_from_the_state(dev, data):
    sts, stub = stubbed("sts")
    stub.add_response("get_caller_identity", {"Account": ACCOUNT})
    run = Recorder({"output": outputs(state_machine_arn="arn", cluster_id=None)})
    deployed = read_deployed(dev, state_bucket(True), sts, run)
    assert run.verbs == ["init", "output"]
    assert deployed["state_machine_arn"] == "arn"
    assert deployed.get("cluster_id") is None
    with pytest.raises(PrerequisiteError, match=r"superres-dev has no cluster_id: .*make deploy"):
        deployed["cluster_id"]


def test_what_was_never_deployed_says_how(dev, data):
    sts, stub = stubbed("sts")
    stub.add_response("get_caller_identity", {"Account": ACCOUNT})
    run = Recorder()
    deployed = read_deployed(dev, state_bucket(False), sts, run)
    assert run.calls == []
    with pytest.raises(PrerequisiteError, match="run make deploy ENV=dev"):
        deployed["state_machine_arn"]

"""What the deploy commands read through a real Terraform."""

import subprocess

import pytest

from deploy import terraform
from deploy.destroy import check_protection
from deploy.environments import read_environment
from deploy.preflight import Group, needs_of
from superres.errors import ConfigError, PrerequisiteError
from tests.support.required_tools import require
from tests.support.terraform import write_cli_configuration

pytestmark = pytest.mark.terraform


@pytest.fixture(autouse=True)
def terraform_on_path():
    require("terraform", "install Terraform 1.11 or later")


def test_terraform_accepts_the_cli_configuration(tmp_path):
    mirror = tmp_path / ".terraform.d" / "plugins"
    (mirror / "registry.terraform.io/hashicorp/aws/5.100.0").mkdir(parents=True)
    write_cli_configuration(tmp_path)
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


@pytest.mark.parametrize("name", ["dev", "prod", "local"])
def test_needs_are_read_from_the_values_of_an_environment(name):
    needs = needs_of(read_environment(name))
    assert needs.release_label == "emr-spark-8.1.0"
    assert needs.persistent == (name != "dev")
    assert needs.gpu == (name != "local")
    assert needs.task.instance_types[0] == ("g6.2xlarge" if needs.gpu else "m7i.2xlarge")
    assert needs.kafka.version == "3.9.x.kraft"
    if name == "dev":
        assert (needs.primary.instances, needs.core.instances, needs.task.instances) == (1, 1, 1)
        assert needs.services == (
            Group("ingestion", ("t3.medium",), 1),
            Group("notifier", ("t3.small",), 1),
        )
        assert needs.zone_count == 2
        assert needs.endpoint_services == ("aws.api.eu-central-1.emr-service-cell01",)


def test_a_public_cluster_without_kafka_needs_neither_emr_s_endpoint_nor_brokers():
    needs = needs_of(read_environment("smoke"))
    assert needs.endpoint_services == ()
    assert needs.kafka is None
    assert [fleet.name for fleet in needs.cluster] == ["primary", "core"]


def test_misspelled_variables_are_an_error(tmp_path):
    values = tmp_path / "x.tfvars"
    values.write_text('environment = "xx"\nregion = "eu-central-1"\nnotifer = {}\nkafak = {}\n')
    with pytest.raises(ConfigError, match=r"^\S+x\.tfvars: there is no variable [^\n]+$") as caught:
        terraform.value_of("var.project", values)
    assert "notifer" in str(caught.value)
    assert "kafak" in str(caught.value)


def test_a_wrong_value_is_reported_in_one_line(tmp_path):
    values = tmp_path / "x.tfvars"
    values.write_text('environment = "dev"\nregion = "moon"\n')
    with pytest.raises(
        ConfigError, match=r"x\.tfvars: Invalid value for variable: .*region"
    ) as caught:
        terraform.value_of("var.region", values)
    assert "\n" not in str(caught.value)


def test_a_protected_environment_is_not_destroyed():
    check_protection(read_environment("dev"))
    with pytest.raises(PrerequisiteError, match=r"deletion_protection = false in prod\.tfvars"):
        check_protection(read_environment("prod"))

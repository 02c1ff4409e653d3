"""What preflight finds in an environment's values, before it asks AWS."""

from dataclasses import replace

import pytest

from deploy.environments import read_environment
from deploy.preflight import Group, Needs, alarm_findings, config_findings, value_findings

_NONE = Group("", (), 0)
NEEDS = Needs(
    *("emr-spark-8.1.0", False, _NONE, _NONE, _NONE, False, (), 2, (), None),
    alarms_email="desk@example.org",
)


def test_an_environment_without_an_address_for_alarms_is_a_warning():
    assert not list(alarm_findings(NEEDS))
    (warning,) = alarm_findings(replace(NEEDS, alarms_email=None))
    assert not warning.stops
    assert "set alarms = { email" in warning.line


@pytest.mark.parametrize("name", ["local", "dev", "smoke", "prod"])
def test_every_value_of_our_environments_is_a_setting(name):
    assert not value_findings(read_environment(name))


def test_keys_that_terraform_would_drop_are_named(tmp_path):
    values = tmp_path / "mine.tfvars"
    values.write_text(
        """
        environment = "mine"
        region      = "eu-central-1"
        kafka       = { partition = 4 }
        processing  = { core = { instances = 2, instance_type = "m7i.xlarge" } }
        config      = { processing = { upscale_factr = 3 } } # checked by our own configuration
        """.replace("\n        ", "\n")
    )
    found = value_findings(replace(read_environment("dev"), values=values))
    assert all(finding.stops for finding in found)
    kafka, core = (finding.line for finding in found)
    assert kafka.startswith("mine.tfvars: kafka.partition is no setting and would be ignored;")
    assert "partitions" in kafka
    assert core.startswith("mine.tfvars: processing.core.instance_type is no setting")
    assert "instance_types" in core


@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"processing": {"upscale_factr": 5}}, "unknown key 'processing.upscale_factr'"),
        ({"processing": {"upscale_factor": 5}}, "processing.upscale_factor"),
        ({"procesing": {}}, "unknown key 'procesing'"),
    ],
)
def test_configuration_that_nothing_would_start_with_is_found_before(config, part):
    (finding,) = config_findings(replace(NEEDS, config=config))
    assert finding.stops
    assert part in finding.line
    assert not list(config_findings(replace(NEEDS, config={"processing": {"upscale_factor": 3}})))

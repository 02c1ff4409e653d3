"""What a plan costs by the hour, and what is said after an apply that did not end."""

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml

from deploy.cost import Estimate
from deploy.preflight import Group, Kafka, Needs
from deploy.preflight.needs import _PRIMARY_DISK, _ROOT_DISK
from deploy.prices import FILE, read_prices
from deploy.resources import (
    Resource,
    changed_addresses,
    existing_resources,
    planned_resources,
)
from superres.cli.estimate import read_assumptions
from tests.support.paths import ROOT

REGION = "us-east-1"
NEEDS = Needs(
    release_label="emr-spark-8.1.0",
    persistent=False,
    primary=Group("primary", ("m7i.xlarge",), 1),
    core=Group("core", ("m7i.2xlarge", "m6i.2xlarge"), 2),
    task=Group("task", ("g6.2xlarge", "g5.2xlarge"), 4),
    gpu=True,
    services=(),
    zone_count=2,
    endpoint_services=(),
    kafka=Kafka("3.9.x.kraft", "kafka.m7g.large"),
    core_disk=200,
)
GP3 = 0.08 / 730


def resource(kind: str, name: str = "this", module: str = "", **values: Any) -> Resource:
    return Resource(f"{module}{kind}.{name}", kind, values)


def subnets(*zones: str, public: bool = False) -> list[Resource]:
    return [
        resource("aws_subnet", zone, availability_zone=zone, map_public_ip_on_launch=public)
        for zone in zones
    ]


def estimate(needs: Needs = NEEDS, region: str = REGION) -> Estimate:
    return Estimate(needs, read_prices(region), region)


def idle(*resources: Resource) -> dict[str, Any]:
    """Returns the count and the price of each line that is always billed."""
    costs = estimate().costs(resources)
    assert costs.unknown == ()
    return {line.name: (line.count, pytest.approx(line.total.dollars)) for line in costs.idle}


def test_networks_are_counted_by_zone():
    gateway = resource("aws_vpc_endpoint", "s3", vpc_endpoint_type="Gateway")
    interface = resource("aws_vpc_endpoint", "sqs", vpc_endpoint_type="Interface")
    found = idle(
        *(*subnets("a", "b"), *subnets("b", "a")),
        *(gateway, interface, resource("aws_nat_gateway"), resource("aws_eip")),
    )
    assert found == {
        "NAT gateway": (1, 0.045),
        "interface endpoint in a zone": (2, 0.02),
        "public IPv4 address": (1, 0.005),
    }


def test_a_public_load_balancer_has_an_address_in_each_zone():
    inside = idle(*subnets("a", "b"), resource("aws_lb", internal=True))
    assert inside == {"load balancer": (1, 0.0225)}
    outside = idle(*subnets("a", "b"), resource("aws_lb", internal=False))
    assert outside["public IPv4 address"] == (2, 0.01)


def service(**template: Any) -> list[Resource]:
    module = "module.notifier.module.service."
    template = {
        "instance_type": "t3.small",
        "block_device_mappings": [{"ebs": [{"volume_size": 30}]}],
        "monitoring": [{"enabled": False}],
    } | template
    return [
        resource("aws_autoscaling_group", module=module, desired_capacity=2),
        resource("aws_launch_template", module=module, **template),
        resource("aws_launch_template", module="module.other.", instance_type="m7i.large"),
    ]


def test_services_are_counted_with_disks_monitoring_and_addresses():
    private = idle(*service(), *subnets("a"))
    assert private == {
        "instance t3.small": (2, 2 * 0.0208),
        "gigabyte of disk (gp3)": (60, 60 * GP3),
    }
    public = idle(*service(monitoring=[{"enabled": True}]), *subnets("a", public=True))
    assert public["public IPv4 address"] == (2, 0.01)
    assert public["detailed monitoring of an instance"] == (2, 2 * 2.10 / 730)


def test_brokers_and_databases_are_counted_with_their_storage():
    brokers = resource(
        "aws_msk_cluster",
        number_of_broker_nodes=3,
        broker_node_group_info=[
            {
                "instance_type": "kafka.m7g.large",
                "storage_info": [{"ebs_storage_info": [{"volume_size": 100}]}],
            }
        ],
    )
    database = resource(
        "aws_db_instance",
        instance_class="db.t4g.small",
        multi_az=True,
        allocated_storage=20,
        manage_master_user_password=True,
    )
    found = idle(brokers, database)
    assert found["broker kafka.m7g.large"] == (3, 3 * 0.204)
    assert found["gigabyte of brokers"] == (300, 300 * 0.10 / 730)
    assert found["database db.t4g.small"] == (2, 2 * 0.032)
    assert found["gigabyte of the database"] == (40, 40 * 0.115 / 730)
    # RDS keeps the password in a secret.
    assert found["secretsmanager secret"] == (1, 0.4 / 730)


def test_an_alarm_counts_for_each_of_its_metrics():
    one = resource("aws_cloudwatch_metric_alarm", metric_query=[])
    two = resource(
        "aws_cloudwatch_metric_alarm",
        metric_query=[{"metric": [{}]}, {"metric": [{}]}, {"expression": "a/b", "metric": []}],
    )
    assert idle(one, two) == {"cloudwatch metric alarm": (3, 0.3 / 730)}


def test_a_transient_cluster_costs_during_a_run_and_a_persistent_one_always():
    price = {
        "primary": 0.2016 * 1.25 + 164 * GP3,
        "core": 2 * (0.4032 * 1.25 + 264 * GP3),
        # The dearest type counts, although g6.2xlarge is listed first.
        "task": 4 * (1.212 * 1.25 + 64 * GP3),
    }
    transient = estimate().costs([])
    assert transient.idle == ()
    assert transient.run_dollars == pytest.approx(sum(price.values()))
    persistent = estimate(replace(NEEDS, persistent=True))
    always = persistent.costs([resource("aws_emr_cluster")])
    assert always.idle_dollars == pytest.approx(price["primary"] + price["core"])
    assert always.run_dollars == pytest.approx(price["task"])
    # A half-made environment has no cluster yet.
    assert persistent.costs([]).idle_dollars == 0


def test_what_the_table_lacks_is_named_and_not_counted_as_nothing():
    needs = replace(NEEDS, task=Group("task", ("p5.48xlarge",), 2))
    costs = estimate(needs).costs(
        [
            resource("aws_lambda_function"),
            resource("aws_lambda_function", "other"),
            *service(instance_type="t9.huge"),
        ]
    )
    assert costs.unknown == (
        "aws_lambda_function (2)",
        "instance t9.huge (2)",
        "p5.48xlarge (task instance) (2)",
    )
    lines = "\n".join(estimate(needs).lines([resource("aws_lambda_function")]))
    assert "not in the table (deploy/prices.yaml): aws_lambda_function (1)" in lines


def test_values_that_a_plan_does_not_know_are_named():
    costs = estimate().costs([resource("aws_msk_cluster"), resource("aws_db_instance")])
    assert costs.unknown == (
        "aws_db_instance with values that are not known yet (1)",
        "aws_msk_cluster with values that are not known yet (1)",
    )


def test_the_lines_have_sums_the_date_and_what_is_billed_by_use():
    plan = [resource("aws_nat_gateway"), resource("aws_sqs_queue"), resource("aws_vpc")]
    lines = list(estimate().lines(plan))
    table = yaml.safe_load(FILE.read_text("utf-8"))
    assert f"list prices of {table['date']}, {REGION}" in lines[0]
    assert "  always: $ 0.045 an hour, $ 33 a month" in lines
    assert any(line.startswith("  while a run lasts: at most $ ") for line in lines)
    assert "  and by use: gigabytes through NAT gateways, messages of SQS" in lines


def test_prices_from_memory_and_of_other_regions_are_marked():
    needs = replace(NEEDS, primary=Group("primary", (), 0), core=Group("core", (), 0))
    none = replace(needs, task=Group("task", (), 0))
    for region, kind, sure in (
        ("us-east-1", "aws_lb", True),
        ("eu-central-1", "aws_lb", False),
        ("eu-central-1", "aws_nat_gateway", True),
        ("ap-south-1", "aws_nat_gateway", False),
    ):
        shown = Estimate(none, read_prices(region), region)
        (line,) = (each for each in shown.lines([resource(kind, internal=True)]) if " × " in each)
        assert ("~" not in line) == sure, line
    (first, *_) = Estimate(none, read_prices("ap-south-1"), "ap-south-1").lines([])
    assert "eu-central-1 (none for ap-south-1)" in first


def test_both_tables_of_prices_agree():
    prices = read_prices("us-east-1")
    assumptions = read_assumptions()
    assert assumptions.emr_surcharge == prices.emr_surcharge
    for instance in assumptions.instances:
        assert prices.hourly("instances", instance.type).dollars == instance.dollars


def test_both_regions_have_the_same_prices():
    regions = yaml.safe_load(FILE.read_text("utf-8"))["regions"]
    first, second = regions.values()
    assert {name: list(each) for name, each in first.items()} == {
        name: list(each) for name, each in second.items()
    }


def test_disks_of_the_cluster_are_those_of_terraform():
    text = (ROOT / "infra" / "modules" / "processing" / "cluster.tf").read_text("utf-8")
    assert re.findall(r"root_gigabytes = (\d+)\n", text) == [str(_ROOT_DISK)]
    assert re.findall(r"disk_gigabytes = (\d+)\n", text) == [str(_PRIMARY_DISK)]


def test_resources_are_read_from_plans_and_states():
    def change(address: str, actions: list[str], mode: str = "managed") -> dict[str, Any]:
        after = None if actions == ["delete"] else {"name": address}
        return {
            "address": address,
            "type": address.split(".")[-2],
            "mode": mode,
            "change": {"actions": actions, "after": after},
        }

    plan = {
        "resource_changes": [
            change("module.a.aws_x.y", ["create"]),
            change("aws_x.same", ["no-op"]),
            change("aws_x.gone", ["delete"]),
            change("data.aws_x.read", ["read"], "data"),
        ]
    }
    assert [each.address for each in planned_resources(plan)] == ["module.a.aws_x.y", "aws_x.same"]
    assert planned_resources(plan)[0].module == "module.a."
    assert changed_addresses(plan) == ["module.a.aws_x.y", "aws_x.gone"]
    assert existing_resources({"format_version": "1.0"}) == []


def test_what_exists_is_said_in_one_line():
    parts = [*subnets("a"), resource("aws_nat_gateway"), resource("aws_kms_key")]
    line = estimate().in_short(parts)
    assert line.startswith("what exists is billed, about $ 0.05 an hour (1 × NAT gateway, ")
    assert estimate().in_short(subnets("a")) == "nothing that exists is billed by the hour"
    many = [
        *(*parts, resource("aws_eip"), resource("aws_lb", internal=True)),
        *(resource("aws_secretsmanager_secret"), resource("aws_thing")),
    ]
    assert "and more, not in the table: aws_thing (1)" in estimate().in_short(many)

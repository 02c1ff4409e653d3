"""What the environments cost, from the plans of a real Terraform and the dated table of prices."""

import pytest

from deploy.cost import Costs, Estimate
from deploy.environments import read_environment
from deploy.preflight import needs_of
from deploy.prices import read_prices
from deploy.resources import planned_resources
from tests.support.terraform_plans import plan_of

pytestmark = [pytest.mark.terraform, pytest.mark.slow]

# For ten images: the cluster's start and end, and steps that EMR starts within minutes.
RUN_HOURS = 1.25


def costs_of(name: str) -> Costs:
    environment = read_environment(name)
    estimate = Estimate(needs_of(environment), read_prices(environment.region), environment.region)
    return estimate.costs(planned_resources(plan_of(name)))


def test_a_smoke_environment_costs_little():
    costs = costs_of("smoke")
    assert costs.unknown == ()
    assert 0 < costs.idle_dollars <= 0.05
    assert 0 < costs.run_dollars * RUN_HOURS <= 1
    assert {line.name for line in costs.idle} >= {"instance t3.micro", "public IPv4 address"}


def test_the_table_knows_everything_in_prod():
    costs = costs_of("prod")
    assert costs.unknown == ()
    counted = {line.name: line.count for line in costs.idle}
    assert counted["NAT gateway"] == counted["broker kafka.m7g.large"] == 3
    # Five services and EMR, in three zones each.
    assert counted["interface endpoint in a zone"] == 18
    assert counted["database db.t4g.small"] == 2
    # The persistent cluster, without its task instances, is always there.
    assert counted["primary instance m7i.xlarge with EMR and disks"] == 1
    assert counted["core instance m7i.2xlarge with EMR and disks"] == 3
    assert [(line.name, line.count) for line in costs.run] == [
        ("task instance g5.2xlarge with EMR and disks", 8)
    ]


def test_the_table_knows_everything_in_dev():
    costs = costs_of("dev")
    assert costs.unknown == ()
    counted = {line.name: line.count for line in costs.idle}
    assert counted["NAT gateway"] == counted["load balancer"] == 1
    assert counted["interface endpoint in a zone"] == 2
    # A transient cluster is billed during a run only.
    assert [line.count for line in costs.run] == [1, 1, 1]

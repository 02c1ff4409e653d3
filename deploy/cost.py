"""What a plan costs by the hour, from the dated table of prices.

An estimate above what is billed: list prices, without free tiers. Traffic and use are named, not
estimated. A resource or instance type that the table lacks is named too, never counted as nothing.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from deploy.preflight.needs import Group, Needs
from deploy.prices import Price, Prices
from deploy.resources import Resource

_SHOWN = 4  # parts named in one line


@dataclass(frozen=True)
class Line:
    """So many of something, at so much each for an hour."""

    name: str
    count: float
    each: Price

    @property
    def total(self) -> Price:
        """For all of them."""
        return self.each * self.count


@dataclass(frozen=True)
class Costs:
    """What is billed.

    Attributes:
        idle: always, while the environment exists.
        run: in addition, for a run: a transient cluster, or task instances.
        usage: what is billed by use.
        unknown: what the table lacks.
    """

    idle: tuple[Line, ...]
    run: tuple[Line, ...]
    usage: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def idle_dollars(self) -> float:
        """Dollars an hour without a run."""
        return sum(line.total.dollars for line in self.idle)

    @property
    def run_dollars(self) -> float:
        """Dollars an hour in addition, while a run lasts and all task instances are up."""
        return sum(line.total.dollars for line in self.run)


@dataclass
class _Reckoning:
    """Lines under way: equal ones are added up, what has no price is kept by name."""

    prices: Prices
    lines: dict[tuple[str, Price], float] = field(default_factory=dict)
    unknown: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, count: float, each: Price | None) -> None:
        if each is None:
            self.unknown[name] += int(count)
        elif count:
            key = (name, each)
            self.lines[key] = self.lines.get(key, 0) + count

    def result(self) -> tuple[Line, ...]:
        """Returns the lines, the dearest first."""
        lines = (Line(name, count, each) for (name, each), count in self.lines.items())
        return tuple(sorted(lines, key=lambda line: line.total.dollars, reverse=True))


def costs_of(resources: Iterable[Resource], needs: Needs, prices: Prices) -> Costs:
    """Returns what the resources and the clusters of an environment cost."""
    resources = list(resources)
    idle, run = _Reckoning(prices), _Reckoning(prices)
    for resource in resources:
        _add_resource(resource, resources, idle)
    types = {resource.type for resource in resources}
    public = _has_public_addresses(resources)
    # The one resource of a persistent cluster has no prices; what it consists of is in the values.
    exists = not needs.persistent or "aws_emr_cluster" in types
    for fleet in needs.cluster if exists else ():
        always = needs.persistent and fleet is not needs.task
        _add_fleet(fleet, needs, public, idle if always else run)
    unknown = idle.unknown + run.unknown
    return Costs(
        idle.result(),
        run.result(),
        tuple(dict.fromkeys(text for kind, text in prices.usage.items() if kind in types)),
        tuple(f"{name} ({count})" for name, count in sorted(unknown.items())),
    )


def _add_resource(resource: Resource, resources: list[Resource], to: _Reckoning) -> None:
    prices = to.prices
    rule, month = _RULES.get(resource.type), prices.monthly(resource.type)
    if rule is not None:
        try:
            rule(resource, resources, to)
        except (KeyError, TypeError, ValueError):  # a plan leaves out what AWS will choose
            to.unknown[f"{resource.type} with values that are not known yet"] += 1
    elif month is not None:
        to.add(_plain(resource.type), _metrics(resource), month)
    elif resource.type not in {*prices.free, *prices.usage, "aws_emr_cluster"}:
        to.unknown[resource.type] += 1


def _plain(resource_type: str) -> str:
    return resource_type.removeprefix("aws_").replace("_", " ")


def _metrics(resource: Resource) -> int:
    """Returns how many times a monthly price counts: an alarm of several metrics is so many."""
    queries = resource.values.get("metric_query") or []
    return max(1, sum(1 for query in queries if query.get("metric")))


# ---- the cluster


def _add_fleet(fleet: Group, needs: Needs, public: bool, to: _Reckoning) -> None:
    """Adds a fleet at the price of its dearest type: EMR may choose any."""
    prices = to.prices
    known = [(prices.hourly("instances", kind), kind) for kind in fleet.instance_types]
    for price, kind in known:
        if price is None:
            to.add(f"{kind} ({fleet.name} instance)", fleet.instances, None)
    dearest = max(
        ((price, kind) for price, kind in known if price is not None),
        key=lambda pair: pair[0].dollars,
        default=None,
    )
    if dearest is None:
        return
    price, kind = dearest
    each = price * (1 + prices.emr_surcharge) + prices.gigabyte("gp3") * needs.disk_of(fleet)
    to.add(f"{fleet.name} instance {kind} with EMR and disks", fleet.instances, each)
    if public:
        _address(to, fleet.instances)


# ---- resources with a price by the hour


def _add_nat_gateway(_: Resource, __: list[Resource], to: _Reckoning) -> None:
    to.add("NAT gateway", 1, to.prices.hourly("hourly", "NAT gateway"))


def _add_address(_: Resource, __: list[Resource], to: _Reckoning) -> None:
    _address(to, 1)


def _address(to: _Reckoning, count: float) -> None:
    to.add("public IPv4 address", count, to.prices.hourly("hourly", "public IPv4 address"))


def _add_endpoint(resource: Resource, resources: list[Resource], to: _Reckoning) -> None:
    # Subnets have no ids in a first plan, but each zone has one.
    if resource.values.get("vpc_endpoint_type") == "Interface":
        each = to.prices.hourly("hourly", "interface endpoint")
        to.add("interface endpoint in a zone", _zones(resources), each)


def _add_load_balancer(resource: Resource, resources: list[Resource], to: _Reckoning) -> None:
    to.add("load balancer", 1, to.prices.hourly("hourly", "load balancer"))
    if not resource.values.get("internal"):
        _address(to, _zones(resources))


def _add_group(resource: Resource, resources: list[Resource], to: _Reckoning) -> None:
    count = resource.values.get("desired_capacity") or 0
    templates = [
        each
        for each in resources
        if each.type == "aws_launch_template" and each.module == resource.module
    ]
    if len(templates) != 1:
        to.unknown[f"instances of {resource.address}"] += int(count)
        return
    template = templates[0].values
    kind = template["instance_type"]
    to.add(f"instance {kind}", count, to.prices.hourly("instances", kind))
    disks = [disk for block in template.get("block_device_mappings") or [] for disk in block["ebs"]]
    gigabytes = sum(disk["volume_size"] for disk in disks)
    to.add("gigabyte of disk (gp3)", gigabytes * count, to.prices.gigabyte("gp3"))
    if any(each["enabled"] for each in template.get("monitoring") or []):
        to.add("detailed monitoring of an instance", count, to.prices.detailed_monitoring)
    if _has_public_addresses(resources):
        _address(to, count)


def _add_brokers(resource: Resource, _: list[Resource], to: _Reckoning) -> None:
    count = resource.values["number_of_broker_nodes"]
    (group,) = resource.values["broker_node_group_info"]
    kind = group["instance_type"]
    to.add(f"broker {kind}", count, to.prices.hourly("brokers", kind))
    disks = [disk for info in group["storage_info"] for disk in info["ebs_storage_info"]]
    gigabytes = sum(disk["volume_size"] for disk in disks)
    to.add("gigabyte of brokers", gigabytes * count, to.prices.gigabyte("MSK"))


def _add_database(resource: Resource, _: list[Resource], to: _Reckoning) -> None:
    copies = 2 if resource.values.get("multi_az") else 1
    kind = resource.values["instance_class"]
    to.add(f"database {kind}", copies, to.prices.hourly("databases", kind))
    gigabytes = resource.values["allocated_storage"] * copies
    to.add("gigabyte of the database", gigabytes, to.prices.gigabyte("RDS"))
    if resource.values.get("manage_master_user_password"):
        secret = "aws_secretsmanager_secret"
        to.add(_plain(secret), 1, to.prices.monthly(secret))


def _zones(resources: Iterable[Resource]) -> int:
    zones = {each.values["availability_zone"] for each in resources if each.type == "aws_subnet"}
    return len(zones)


def _has_public_addresses(resources: Iterable[Resource]) -> bool:
    """Whether instances get a public address, which the network's public subnets then give."""
    return any(
        each.type == "aws_subnet" and each.values.get("map_public_ip_on_launch")
        for each in resources
    )


_RULES: dict[str, Callable[[Resource, list[Resource], _Reckoning], None]] = {
    "aws_autoscaling_group": _add_group,
    "aws_db_instance": _add_database,
    "aws_eip": _add_address,
    "aws_lb": _add_load_balancer,
    "aws_msk_cluster": _add_brokers,
    "aws_nat_gateway": _add_nat_gateway,
    "aws_vpc_endpoint": _add_endpoint,
}


# ---- as text


@dataclass(frozen=True)
class Estimate:
    """Says what resources of an environment cost."""

    needs: Needs
    prices: Prices
    region: str

    def costs(self, resources: Iterable[Resource]) -> Costs:
        """Returns what the resources cost, and the environment's clusters."""
        return costs_of(resources, self.needs, self.prices)

    def lines(self, resources: Iterable[Resource]) -> Iterator[str]:
        """Yields the lines that `make deploy` prints before it asks for confirmation."""
        costs, prices = self.costs(resources), self.prices
        of = prices.region if prices.exact else f"{prices.region} (none for {self.region})"
        yield f"What it costs in $ an hour, by list prices of {prices.date}, {of}; ~ from memory:"
        yield from _table(costs.idle)
        month = costs.idle_dollars * prices.hours
        yield f"  always: $ {costs.idle_dollars:.3f} an hour, $ {month:,.0f} a month"
        if costs.run:
            yield from _table(costs.run)
            yield f"  while a run lasts: at most $ {costs.run_dollars:.2f} an hour more"
        if costs.usage:
            yield f"  and by use: {', '.join(costs.usage)}"
        if costs.unknown:
            yield f"  not in the table (deploy/prices.yaml): {', '.join(costs.unknown)}"

    def in_short(self, resources: Iterable[Resource]) -> str:
        """Returns in one line what is billed by the hour, the dearest first."""
        costs = self.costs(resources)
        if not costs.idle and not costs.unknown:
            return "nothing that exists is billed by the hour"
        names = [f"{line.count:g} × {line.name}" for line in costs.idle[:_SHOWN]]
        others = ["and more"] if len(costs.idle) > _SHOWN else []
        unknown = [f"not in the table: {name}" for name in costs.unknown]
        return (
            f"what exists is billed, about $ {costs.idle_dollars:.2f} an hour "
            f"({', '.join([*names, *others, *unknown])})"
        )


def _table(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        mark = " " if line.each.sure else "~"
        yield f"  {line.count:>5g} × {line.name:<44} {mark}{line.total.dollars:>8.4f}"

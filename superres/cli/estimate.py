"""``superres estimate``: what a run on AWS may cost, from the assumptions in prices.yaml.

The network runs on an instance's GPU or, like everything else, on its CPUs. GPU and CPUs are
assumed to take turns, so times for GPUs are rather too long. The network works on input pixels, so
an output megapixel costs less at a larger scale.
"""

import math
from dataclasses import dataclass
from importlib import resources

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from superres.cli.options import scale_option
from superres.pipeline.yaml_text import parse_yaml

_MEASURED_SCALE = 2


@dataclass(frozen=True)
class Instance:
    """An instance type: GPU and its memory bandwidth, number of cores, EC2 price per hour.

    Without a GPU, ``network_factor`` is the time that a core of the ``processor`` needs for the
    network, relative to the measured one.
    """

    type: str
    gpu: str | None
    gigabytes_per_second: float | None
    cores: int
    dollars: float
    processor: str = "CPU"
    network_factor: float = 1.0

    @property
    def computes_on(self) -> str:
        """What the network runs on, for people."""
        return self.gpu or self.processor


@dataclass(frozen=True)
class Assumptions:
    """The content of prices.yaml."""

    source: str
    emr_surcharge: float
    network_core_seconds: float
    other_core_seconds: float
    gpu_gigabytes: float
    gpu_efficiency: float
    instances: tuple[Instance, ...]


@dataclass(frozen=True)
class Estimate:
    """Time and price of a run on instances of one type."""

    instance: Instance
    dollars_per_hour: float
    seconds_per_megapixel: float
    hours: float

    @property
    def dollars(self) -> float:
        """For the whole run."""
        return self.hours * self.dollars_per_hour

    @property
    def dollars_per_thousand(self) -> float:
        """For 1,000 output megapixels."""
        return self.seconds_per_megapixel * 1000 / 3600 * self.dollars_per_hour


def read_assumptions() -> Assumptions:
    """Reads prices.yaml, which is part of the package."""
    file = resources.files("superres.cli") / "prices.yaml"
    content = parse_yaml(file.read_text("utf-8"), str(file))
    instances = tuple(Instance(**instance) for instance in content.pop("instances"))
    return Assumptions(instances=instances, **content)


def estimate_all(megapixels: float, scale: int, assumptions: Assumptions) -> list[Estimate]:
    """An estimate for each instance type; ``megapixels`` is the input of the whole run."""
    estimates = []
    for instance in assumptions.instances:
        seconds = _seconds_per_megapixel(instance, scale, assumptions)
        price = instance.dollars * (1 + assumptions.emr_surcharge)
        hours = seconds * megapixels * scale**2 / 3600
        estimates.append(Estimate(instance, price, seconds, hours))
    return estimates


def _seconds_per_megapixel(instance: Instance, scale: int, assumptions: Assumptions) -> float:
    if instance.gigabytes_per_second is None:
        network = assumptions.network_core_seconds * instance.network_factor / instance.cores
    else:
        speed = instance.gigabytes_per_second * assumptions.gpu_efficiency
        network = assumptions.gpu_gigabytes / speed
    return (
        network * (_MEASURED_SCALE / scale) ** 2 + assumptions.other_core_seconds / instance.cores
    )


def _finite(_context: click.Context, _parameter: click.Parameter, value: float) -> float:
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no number of megapixels; use a number such as 2.5.")
    return value


@click.command(epilog="Example: superres estimate --images 100000 --megapixels 2 --scale 4")
@click.option("--images", type=click.IntRange(1), required=True, help="Number of images.")
@click.option(
    "--megapixels",
    type=click.FloatRange(0, min_open=True),
    required=True,
    callback=_finite,  # no range keeps nan out
    help="Megapixels of an input image.",
)
@scale_option("2")
def estimate(images: int, megapixels: float, scale: int | None) -> None:
    """Estimate what a run costs on AWS, by instance type.

    Computed from list prices and assumptions, which are printed; no GPU was measured.
    """
    assumptions = read_assumptions()
    scale = scale or 2
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("instance", no_wrap=True)
    table.add_column("processor", no_wrap=True)
    for heading in ("$/h", "s/Mpx", "$/1,000 Mpx", "hours", "$"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in estimate_all(images * megapixels, scale, assumptions):
        table.add_row(
            each.instance.type,
            each.instance.computes_on,
            f"{each.dollars_per_hour:.2f}",
            f"{each.seconds_per_megapixel:.4f}",
            f"{each.dollars_per_thousand:.4f}",
            f"{each.hours:,.2f}",
            f"{each.dollars:,.2f}",
        )
    output = images * megapixels * scale**2
    click.echo(f"{output:,.0f} output megapixels, with EMR's surcharge")
    Console(highlight=False, markup=False).print(table)
    click.echo(
        f"Prices: {assumptions.source}. CPU times are measured on this project's machine; those "
        "of GPUs and of Arm are assumed and unproven (superres/cli/prices.yaml). Not included: "
        "primary instance, idle time, start-up, Kafka, S3, network."
    )

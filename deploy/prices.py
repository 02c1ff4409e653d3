"""The dated table of prices, deploy/prices.yaml, for one region."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from superres.pipeline.yaml_text import parse_yaml

FILE = Path(__file__).with_name("prices.yaml")
# The dearest of the table stands for a region that it lacks.
_OTHER_REGION = "eu-central-1"


@dataclass(frozen=True)
class Price:
    """Dollars an hour; ``sure`` is false for one from memory or of another region."""

    dollars: float
    sure: bool = True

    def __mul__(self, factor: float) -> "Price":
        return Price(self.dollars * factor, self.sure)

    def __add__(self, other: "Price") -> "Price":
        return Price(self.dollars + other.dollars, self.sure and other.sure)


@dataclass(frozen=True)
class Prices:
    """The prices of one region.

    Attributes:
        date: when they were looked up.
        region: whose prices they are, which may be another than the one that was asked for.
        sections: the table's sections of that region, by name.
        everywhere: what holds for all regions.
    """

    date: str
    region: str
    sections: dict[str, dict[str, Any]]
    everywhere: dict[str, Any]
    exact: bool

    def hourly(self, section: str, name: str) -> Price | None:
        """Returns a price by the hour: of ``instances``, ``brokers``, ``databases``, ``hourly``."""
        return self._price(self.sections[section].get(name))

    def gigabyte(self, of: str) -> Price:
        """Returns the price of a gigabyte for an hour: ``gp3``, ``MSK`` or ``RDS``."""
        found = self._price(self.sections["monthly"][f"gigabyte of {of}"])
        assert found is not None
        return found * (1 / self.hours)

    def monthly(self, resource_type: str) -> Price | None:
        """Returns the hourly share of a resource that is billed by the month."""
        found = self.everywhere["monthly"].get(resource_type)
        return None if found is None else Price(found / self.hours)

    @property
    def detailed_monitoring(self) -> Price:
        """Of one instance."""
        return Price(self.everywhere["detailed_monitoring"] / self.hours)

    @property
    def emr_surcharge(self) -> float:
        """What EMR asks for, as a part of the price of the instance."""
        return float(self.everywhere["emr_surcharge"])

    @property
    def hours(self) -> int:
        """Hours in a month."""
        return int(self.everywhere["hours_per_month"])

    @property
    def usage(self) -> dict[str, str]:
        """What is billed by use, by resource type."""
        return dict(self.everywhere["usage"])

    @property
    def free(self) -> frozenset[str]:
        """Resource types that cost nothing by themselves."""
        return frozenset(self.everywhere["free"])

    def _price(self, value: float | str | None) -> Price | None:
        if value is None:
            return None
        text = str(value)
        return Price(float(text.removeprefix("~")), self.exact and not text.startswith("~"))


def read_prices(region: str, file: Path = FILE) -> Prices:
    """Reads the prices of a region."""
    table = parse_yaml(file.read_text("utf-8"), str(file))
    regions = table.pop("regions")
    shown = region if region in regions else _OTHER_REGION
    return Prices(str(table.pop("date")), shown, regions[shown], table, shown == region)

"""docs/aws-rules.md lists the rules that are checked, with the pages that state them."""

import re
from pathlib import Path

import pytest
from localstack_emr_msk.rules.documented import RULES

ROOT = Path(__file__).resolve().parents[3]
PLUGIN = ROOT / "localstack" / "plugin" / "localstack_emr_msk"
PAGE = (ROOT / "docs" / "aws-rules.md").read_text()


def test_every_documented_rule_is_listed_with_its_page() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ")]
    for rule in RULES:
        assert any(row.startswith(f"| {rule.name}") and rule.source in row for row in rows), rule


@pytest.mark.parametrize(
    "name",
    [
        "emr/cluster.py",
        "emr/network.py",
        "emr/requests.py",
        "msk/rules.py",
        "stepfunctions/events.py",
        "stepfunctions/fields.py",
    ],
)
def test_every_page_beside_a_rule_is_listed(name: str) -> None:
    found = re.findall(r"https://docs\.aws\.amazon\.com/\S+\.html", (PLUGIN / name).read_text())
    assert found
    for address in found:
        assert address in PAGE, address

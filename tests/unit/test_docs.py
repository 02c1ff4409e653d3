"""The README and docs/: what they link to and tell people to type is there."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from superres.cli.main import cli
from tests.support.paths import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / ".github").glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
_LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|srcset)=\"([^\"]+)\"")
_CODE = re.compile(r"```\w*\n(.*?)```|`([^`\n]+)`", re.DOTALL)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def links(page: Path) -> list[str]:
    found = ("".join(groups) for groups in _LINK.findall(page.read_text()))
    return [link for link in found if "://" not in link]


@cache
def anchors(page: Path) -> set[str]:
    """The addresses that GitHub gives to headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def typed(page: Path) -> Iterator[str]:
    """Lines of code, comments left out."""
    for groups in _CODE.findall(page.read_text()):
        for line in "".join(groups).splitlines():
            yield line.split("#")[0]


@each_page
def test_links_lead_somewhere(page):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_make_has_every_target_and_variable(page):
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):.*## ", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) \?=", makefile, re.MULTILINE))
    for line in typed(page):
        for target, given in re.findall(r"\bmake ([a-z][a-z0-9-]+)((?: [A-Z_]+=\S*)*)", line):
            assert target in targets, line
            assert set(re.findall(r"([A-Z_]+)=", given)) <= variables, line


@each_page
def test_superres_has_every_command_and_option(page):
    context = click.Context(cli)
    for line in typed(page):
        for name, rest in re.findall(r"\bsuperres ([a-z][a-z-]*)([^|;&]*)", line):
            command = cli.get_command(context, name)
            assert command is not None, line
            options = {text for each in command.params for text in each.opts + each.secondary_opts}
            assert set(re.findall(r"(?<=\s)--[a-z-]+", rest)) <= options | {"--help"}, line


_FOLDERS = (
    *("superres", "jobs", "ingestion", "notifier", "deploy", "infra", "bootstrap", "localstack"),
    *("scripts", "tests", "benchmarks", "docs", "requirements", r"\.github"),
)
_PATH = re.compile(rf"(?:{'|'.join(_FOLDERS)})/[\w./*-]*")
_BUILT = ("lib", ".venv", "node_modules", "build")  # by make, not in the repository


@each_page
def test_paths_in_code_exist(page):
    for groups in _CODE.findall(page.read_text()):
        for text in "".join(groups).split():
            if _PATH.fullmatch(text) and not set(_BUILT) & set(text.split("/")):
                pattern = text.rstrip("/").replace("NAME", "*")
                assert any(ROOT.glob(pattern)), text


def test_every_page_is_reached_from_the_readme():
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
    assert set(PAGES) <= reached

"""Writes the tables of inputs, outputs and resources into the READMEs of the Terraform folders.

``infra/tables.py`` writes them, ``infra/tables.py --check`` prints which are out of date. It
expects files formatted by ``terraform fmt``: a block ends at a brace in the first column, and a
description is one string on one line.
"""

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

_INFRA = Path(__file__).parent
_BEGIN = "<!-- from here on written by infra/tables.py -->"
_BLOCK = re.compile(
    r'^(variable|output|resource|module) "([^"]+)"(?: "([^"]+)")? \{\n(.*?)^\}', re.M | re.S
)
_ATTRIBUTE = re.compile(r"^  (\w+) += +", re.M)
Block = tuple[str, str, dict[str, str]]
"""Kind, name (of a resource: type and name), and attributes as written in the file."""


def main() -> int:
    """Writes the tables, or with ``--check`` compares them; returns 1 if one is out of date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = 0
    for folder in sorted({file.parent for file in _INFRA.rglob("variables.tf")}):
        if ".terraform" in folder.parts:
            continue
        readme = folder / "README.md"
        old = readme.read_text() if readme.exists() else ""
        new = f"{old.partition(_BEGIN)[0]}{_BEGIN}\n\n{tables(folder)}"
        if new == old:
            continue
        if check:
            stale += 1
            print(f"{readme}: the tables are out of date; run infra/tables.py", file=sys.stderr)
        else:
            readme.write_text(new)
    return min(stale, 1)


def tables(folder: Path) -> str:
    """Returns the tables of a folder as Markdown."""
    blocks = [
        block for file in sorted(folder.glob("*.tf")) for block in blocks_in(file.read_text())
    ]
    inputs = [_input(name, has) for kind, name, has in blocks if kind == "variable"]
    outputs = [[f"`{name}`", _text(has)] for kind, name, has in blocks if kind == "output"]
    parts = sorted(f"`{name}`" for kind, name, _ in blocks if kind == "resource")
    parts += sorted(f"module `{name}`" for kind, name, _ in blocks if kind == "module")
    return (
        "## Inputs\n\n"
        + _table(["name", "type", "default", "what it is"], inputs)
        + "\n## Outputs\n\n"
        + _table(["name", "what it is"], outputs)
        + "\n## Makes\n\n"
        + "".join(f"- {part}\n" for part in parts)
    )


def blocks_in(text: str) -> Iterator[Block]:
    """Returns the top-level blocks of a file that a README lists."""
    for kind, label, name, body in _BLOCK.findall(text):
        yield kind, f"{label}.{name}" if name else label, _attributes(body)


def _attributes(body: str) -> dict[str, str]:
    """Returns the attributes at the first level of a block, each up to the next one."""
    found = list(_ATTRIBUTE.finditer(body))
    ends = [match.start() for match in found[1:]] + [len(body)]
    return {
        match[1]: re.split(r"\n(?=\n|  [\w#])", body[match.end() : end])[0].strip()
        for match, end in zip(found, ends, strict=True)
    }


def _input(name: str, has: dict[str, str]) -> list[str]:
    default = f"`{_line(has['default'])}`" if "default" in has else "required"
    return [f"`{name}`", f"`{_line(has['type'])}`", default, _text(has)]


def _text(has: dict[str, str]) -> str:
    return has["description"].strip('"').replace('\\"', '"').replace("|", "\\|")


def _line(value: str) -> str:
    """Joins a value of several lines into one."""
    lines = [re.sub(r" += +", " = ", line.strip()) for line in value.splitlines()]
    joined = lines[0]
    for line in lines[1:]:
        glue = " " if joined[-1] in "({[" or line[0] in ")}]" else ", "
        joined += (" " if joined.endswith(",") else glue) + line
    return joined.replace("|", "\\|")


def _table(titles: list[str], rows: list[list[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())

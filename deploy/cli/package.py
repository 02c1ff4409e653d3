"""``make package``."""

from collections.abc import Sequence

import click

from deploy.cli.shared import print_line
from deploy.package import PACKAGE, ROOT, build_package
from deploy.wheelhouses import RECIPES, Role


@click.command()
@click.option(
    "--without-gpu", is_flag=True, help="Leave out torch (4 GB); inference then runs on CPUs."
)
def package(without_gpu: bool) -> None:
    """Build everything that runs on AWS into build/package."""
    build_and_print([role for role in RECIPES if role != "gpu" or not without_gpu])


def build_and_print(roles: Sequence[Role]) -> None:
    """Builds the package and prints its release and size."""
    manifest = build_package(roles, report=print_line)
    megabytes = sum(file["bytes"] for file in manifest["files"]) / 1e6
    print_line(f"{PACKAGE.relative_to(ROOT)}: release {manifest['release']}, {megabytes:.0f} MB")

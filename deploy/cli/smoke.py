"""``make smoke``."""

import os
import time
from typing import TYPE_CHECKING

import boto3
import click

from deploy.cli import shared
from deploy.cli.shared import environment_option, print_line, print_with_time

if TYPE_CHECKING:
    from deploy.smoke.running import Result


@click.command()
@environment_option
@click.option("--page", metavar="URL", help="Address of the page, if you have forwarded it.")
@click.option("--uploads", metavar="URL", help="Address of the uploads, if you have forwarded it.")
@click.option("--keep", is_flag=True, help="Keep the images and their results.")
def smoke(name: str, page: str | None, uploads: str | None, keep: bool) -> None:
    """Process ten small images, compare the pixels, and say what that proves.

    Exits with 1 when an image is wrong or something did not happen as it should.
    """
    # The only command that computes images; the others start without numpy and libvips.
    from deploy.smoke.running import Target, run_smoke

    deployed, clients = shared.open_deployed(name)
    region = deployed.environment.region
    # For the core's client of S3, and for superres ingest.
    os.environ.setdefault("AWS_DEFAULT_REGION", region)
    session = boto3.session.Session(region_name=region)
    target = Target(deployed, clients, session, page, uploads)
    try:
        result = run_smoke(target, int(time.time()), print_with_time, keep=keep)
    except KeyboardInterrupt:
        click.echo(f"an execution that was started goes on; see make status ENV={name}", err=True)
        raise
    _print_report(result)
    if not result.passed:
        click.get_current_context().exit(1)


def _print_report(result: "Result") -> None:
    """Prints what is wrong, then a line for each verdict."""
    for line in (*result.problems, *result.wrong):
        click.echo(line, err=True)
    right = result.images - len(result.wrong)
    print_line(f"{right} of {result.images} images are right, sample by sample")
    for title, verdict in result.verdicts.items():
        reason = f": {verdict.reason}" if verdict.reason else ""
        print_line(f"  {title}: {verdict.state}{reason}")

"""``make emr-step``."""

from datetime import UTC, datetime

import click

from deploy import steps
from deploy.cli import shared
from deploy.cli.shared import environment_option, print_with_time, redo_option
from deploy.package import JOBS
from superres.errors import ConfigError, PrerequisiteError


@click.command("emr-step")
@environment_option
@click.option("--job", default="", metavar="NAME", help="Job, such as mass_split.  [required]")
@click.option(
    "--run-id", default="", metavar="ID", help="Name of the run, such as 2026-01-31-x2.  [required]"
)
@click.option(
    "--scale",
    type=click.Choice(["2", "3", "4"]),
    help="Upscaling factor, if the run id does not contain it.",
)
@click.option("--ingest-date", metavar="YYYY-MM-DD", help="Day, if the run id does not contain it.")
@click.option(
    "--start-id",
    metavar="ID",
    help="Start of the run that the job belongs to, such as 2026-01-31-x2-20260201T020000Z; names "
    "the manifest.",
)
@redo_option
@click.option("--cluster", metavar="ID", help="Cluster.  [default: the persistent one]")
def emr_step(
    name: str,
    job: str,
    run_id: str,
    scale: str | None,
    ingest_date: str | None,
    start_id: str | None,
    redo: bool,
    cluster: str | None,
) -> None:
    """Submit one job as a step, as the state machine does, and follow it to its end."""
    # Not click's `required`: make passes an empty JOB= on, and its users know no --job.
    for value, example in (
        (job, "JOB=mass_split (--job)"),
        (run_id, "RUN_ID=2026-01-31-x2 (--run-id)"),
    ):
        if not value:
            raise click.UsageError(f"{example.partition('=')[0]} is missing; give {example}")
    if job not in JOBS:
        raise ConfigError(f"JOB (--job) {job!r}: no such job; there are {', '.join(JOBS)}")
    number = int(scale) if scale else None
    steps.check_run(run_id, number, ingest_date, start_id)
    deployed, clients = shared.open_deployed(name)
    arguments = steps.job_arguments(run_id, number, ingest_date, start_id, redo=redo)
    report = steps.report_uri(deployed, job, run_id, datetime.now(UTC))
    arguments += ["--report", report]
    step = steps.submit_step(clients.emr, deployed, job, arguments, cluster)
    print_with_time(f"{job}: step {step.id} on {step.cluster}")
    status = steps.follow_step(clients.emr, step, job, deployed["log_uri"], print_with_time)
    if status.state != "COMPLETED":
        # Its reason has just been printed.
        raise PrerequisiteError(f"{job} has not completed; see {step.log(deployed['log_uri'])}")
    counts = steps.read_counts(clients.s3, report)
    if counts:
        print_with_time(f"{job}: {counts}")

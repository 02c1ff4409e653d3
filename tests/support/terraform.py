"""A CLI configuration as the commands write it for Terraform."""

from pathlib import Path

from deploy.terraform import cli_configuration

_VERSIONS = """\
terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }
}
"""


def write_cli_configuration(home: Path, **variables: str) -> str | None:
    """Writes build/cli.tfrc for a root that needs AWS's provider 5.100.0; returns its text.

    The mirrors are those of the home folder. None: the user's own configuration applies.
    """
    root = home / "root"
    root.mkdir(exist_ok=True)
    (root / "versions.tf").write_text(_VERSIONS)
    target = home / "build" / "cli.tfrc"
    written = cli_configuration(root, target, {"HOME": str(home), **variables})
    return written.read_text() if written else None

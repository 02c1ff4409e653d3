"""The files of the deployment: the same ones for AWS and the local cloud."""

import re

from tests.support.paths import ROOT


def test_only_values_differ_between_local_and_aws() -> None:
    names = ["*.asl.json", "install_fsrcnn.sh", "mass_split.py", "install.sh"]
    for name in names:
        found = [
            path
            for folder in ("infra", "bootstrap", "jobs")
            for path in (ROOT / folder).rglob(name)
            if not {".terraform", "node_modules"} & set(path.parts)
            and "tests/package" not in path.as_posix()
        ]
        assert len(found) == 1, found


def test_neither_terraform_nor_scripts_check_whether_they_run_on_aws() -> None:
    deployed = [*(ROOT / "infra").glob("*.tf"), *(ROOT / "infra" / "modules").glob("*/*.tf")]
    deployed += [*(ROOT / "infra" / "services").iterdir(), *(ROOT / "bootstrap").iterdir()]
    for path in deployed:
        if path.is_file():
            found = re.findall(r"AWS_ENDPOINT_URL|localstack|== *\"local\"", path.read_text(), re.I)
            assert found == [], path

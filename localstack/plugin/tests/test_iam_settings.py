"""Settings of permissions."""

from pathlib import Path

import pytest
from localstack_emr_msk.errors import SettingsError
from localstack_emr_msk.settings import PermissionSettings, permission_settings


def test_permissions_are_off_unless_a_mode_is_set() -> None:
    assert permission_settings({}) == PermissionSettings("off", None)
    given = {"LOCAL_IAM_MODE": "enforce", "LOCAL_IAM_REPORT": "/tmp/report"}
    assert permission_settings(given) == PermissionSettings("enforce", Path("/tmp/report"))


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(
        SettingsError, match="LOCAL_IAM_MODE is 'strict'; it must be one of off, log"
    ):
        permission_settings({"LOCAL_IAM_MODE": "strict"})

"""Credentials of a role for processes, as on AWS: temporary, and fetched from a local address.

An instance of EC2 gets those of its instance profile from its metadata service; here, processes get
them as containers do (``credentials.CREDENTIALS_VARIABLE``).
"""

# LocalStack's decorators have no types.
# mypy: disable-error-code="untyped-decorator"

import json
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError
from localstack.aws.connect import connect_to
from localstack.http import Request, Response, route

from localstack_emr_msk.credentials import FOLDER
from localstack_emr_msk.iam.cloud import Cloud

_SECONDS = 3600


class Credentials:
    """The route with credentials."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    @route(f"{FOLDER}/<account>/<service>/<name>/<session>", methods=["GET"])
    def get(
        self, request: Request, account: str, service: str, name: str, session: str
    ) -> Response:
        """Assumes a role as a service of AWS does; for ec2, the name is that of a profile.

        ``source_arn`` in the query is the resource for which the service does it. The role's trust
        policy must allow it.
        """
        role = f"arn:aws:iam::{account}:role/{name}"
        if service == "ec2":
            role = self._cloud.role_of_profile(account, name) or role
        metadata = {"service_principal": service}
        if source := request.args.get("source_arn"):
            metadata["source_arn"] = source
        sts = connect_to().sts.request_metadata(**metadata)
        try:
            made = sts.assume_role(RoleArn=role, RoleSessionName=session, DurationSeconds=_SECONDS)[
                "Credentials"
            ]
        except ClientError as error:
            return _answer({"code": "AccessDenied", "message": str(error)}, 403)
        return _answer(
            {
                "AccessKeyId": made["AccessKeyId"],
                "SecretAccessKey": made["SecretAccessKey"],
                "Token": made["SessionToken"],
                "Expiration": made["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
                "RoleArn": role,
            }
        )


def _answer(content: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(content), status=status, mimetype="application/json")

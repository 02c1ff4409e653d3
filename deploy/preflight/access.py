"""Whether this shell reaches the right account and region of AWS, or the local cloud."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.parsers import ResponseParserError

from deploy.environments import Environment
from superres.errors import PrerequisiteError
from superres.service.addresses import is_loopback

if TYPE_CHECKING:
    from types_boto3_sts import STSClient


def check_region(environment: Environment, variables: Mapping[str, str] = os.environ) -> None:
    """Raises ``PrerequisiteError`` when the shell is set to another region than the values."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        if variables.get(name, environment.region) != environment.region:
            raise PrerequisiteError(
                f"{name} is {variables[name]}, but {environment.values.name} has "
                f"{environment.region}; unset {name}, or change the region there"
            )


def check_endpoint(environment: Environment, endpoint: str) -> None:
    """Raises ``PrerequisiteError`` when ENV=local would use AWS, or another ENV LocalStack.

    LocalStack would report that nothing is deployed, although it is on AWS.
    """
    host = urlsplit(endpoint).hostname or ""
    local = is_loopback(host) or host.endswith(".localstack.cloud")  # resolves to 127.0.0.1
    if environment.name != "local" and local:
        raise PrerequisiteError(
            f"ENV={environment.name} is for AWS, but this shell uses {endpoint}; unset "
            "AWS_ENDPOINT_URL AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY, or use ENV=local"
        )
    if environment.name == "local" and host.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        raise PrerequisiteError(
            "ENV=local is for LocalStack, but this shell uses AWS; run make local-up, then export "
            "AWS_ENDPOINT_URL=http://127.0.0.1:4566 AWS_ACCESS_KEY_ID=test "
            "AWS_SECRET_ACCESS_KEY=test"
        )


def check_credentials(sts: "STSClient", environment: Environment) -> str:
    """Returns the account; raises ``PrerequisiteError`` when credentials are missing or fail."""
    try:
        return sts.get_caller_identity()["Account"]
    except NoCredentialsError:
        raise PrerequisiteError(
            "no AWS credentials; run aws configure, or set AWS_PROFILE or AWS_ACCESS_KEY_ID"
        ) from None
    except ClientError as error:
        code = error.response["Error"]["Code"]
        raise PrerequisiteError(
            f"AWS refuses the credentials in {environment.region} ({code}); log in again, and "
            "check that this region is enabled for the account"
        ) from None
    except BotoCoreError as error:
        remedy = "check the network, the region's name and AWS_PROFILE"
        if environment.name == "local":
            remedy = "start LocalStack with make local-up"
        raise PrerequisiteError(
            f"AWS cannot be reached in {environment.region} ({error}); {remedy}"
        ) from None
    # A web page instead of a response; botocore raises KeyError if the page is well-formed XML.
    except (ResponseParserError, KeyError):
        raise PrerequisiteError(
            f"the response for {environment.region} is not from AWS; check AWS_ENDPOINT_URL, and "
            "whether a proxy or a login page of the network is in between"
        ) from None

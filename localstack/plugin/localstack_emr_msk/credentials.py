"""Addresses at which processes get the credentials of a role; ``iam.sessions`` serves them."""

from urllib.parse import quote

FOLDER = "/_iam/credentials"
# With it every SDK of AWS fetches credentials, and renews them in time:
# https://docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html
CREDENTIALS_VARIABLE = "AWS_CONTAINER_CREDENTIALS_FULL_URI"


def instance_credentials(endpoint: str, account: str, profile: str, instance: str) -> str:
    """Returns the address of an instance's credentials, given the name or ARN of its profile."""
    return f"{endpoint}{FOLDER}/{account}/ec2/{quote(profile.rpartition('/')[2])}/{instance}"

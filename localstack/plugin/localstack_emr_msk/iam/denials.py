"""AWS's error for a denied call, which differs by protocol."""

from localstack.aws.api import CommonServiceException, RequestContext

from localstack_emr_msk.iam.evaluation import Decision, Principal
from localstack_emr_msk.iam.policies import Needed


def message(principal: Principal, needed: Needed, decision: Decision) -> str:
    """Returns AWS's message.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
    """
    return (
        f"User: {principal.name} is not authorized to perform: {needed.action} on resource: "
        f'"{needed.resource}" because {decision.reason}'
    )


def denial(context: RequestContext, text: str) -> CommonServiceException:
    """Returns the error that a service raises for a denied call."""
    service = context.service.service_name
    if service == "s3":
        # https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
        return CommonServiceException("AccessDenied", text, status_code=403)
    if service == "ec2":
        # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html
        return CommonServiceException(
            "UnauthorizedOperation", text, status_code=403, sender_fault=True
        )
    by_name = context.protocol in ("json", "rest-json", "smithy-rpc-v2-cbor")
    return CommonServiceException(
        "AccessDeniedException" if by_name else "AccessDenied",
        text,
        status_code=400 if context.protocol == "json" else 403,
        sender_fault=True,
    )

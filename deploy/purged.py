"""Makes Terraform forget a cluster that EMR has forgotten.

EMR deletes what it knows of a cluster two months after its end. Terraform then replaces the
cluster and its instance fleet by itself, but its provider takes EMR's answer about the scaling
policy for an error, and there is no plan until the policy is out of the state.
https://github.com/hashicorp/terraform-provider-aws/issues/32248
"""

from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from deploy.callbacks import Report
from deploy.terraform import Terraform

if TYPE_CHECKING:
    from types_boto3_emr import EMRClient


def forget_purged_cluster(terraform: Terraform, emr: "EMRClient", report: Report) -> None:
    """Removes the scaling policy from the state if EMR does not know its cluster any more."""
    cluster = terraform.outputs().get("cluster_id")
    if cluster is None or _is_known(emr, cluster):
        return
    state = terraform.read("state", "list").splitlines()
    policies = [address for address in state if ".aws_emr_managed_scaling_policy." in address]
    if policies:
        report(f"EMR does not know the cluster {cluster} any more: Terraform forgets its policy")
        terraform.call("state", "rm", *policies)


def _is_known(emr: "EMRClient", cluster: str) -> bool:
    try:
        emr.describe_cluster(ClusterId=cluster)
    except ClientError as error:
        if error.response["Error"]["Code"] != "InvalidRequestException":
            raise
        return False
    return True

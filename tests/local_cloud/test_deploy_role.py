"""Every call of `make deploy` in the local cloud is in the list that the deploy role is made from.

Terraform's calls are those of LocalStack's log that no role made. `test_apply` comes before, and
asks little itself. Deletions are read from the log by `test_destroy`.
"""

from tests.local_cloud.deploy_calls import forgotten_actions
from tests.local_cloud.stack import Stack


def test_the_deploy_role_may_make_every_call_of_a_deployment(stack: Stack) -> None:
    used, forgotten = forgotten_actions(stack)
    # All services that deploying uses are among the calls.
    services = {action.partition(":")[0] for action in used}
    assert services >= {
        *("autoscaling", "cloudwatch", "ec2", "elasticloadbalancing", "elasticmapreduce", "events"),
        *("iam", "kafka", "kms", "logs", "s3", "scheduler", "secretsmanager", "sns", "sqs"),
        *("ssm", "states"),
    }
    assert forgotten == set()

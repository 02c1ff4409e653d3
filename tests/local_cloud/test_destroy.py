"""`make destroy`, after all other tests of this folder and during a run, leaves nothing."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from tests.local_cloud.deploy_calls import forgotten_actions
from tests.local_cloud.executions import Day, wait_for_first_step
from tests.local_cloud.stack import ENVIRONMENT, NAME, Stack

# Service, operation and arguments of calls that list names.
LISTS: list[tuple[str, str, dict[str, Any]]] = [
    ("autoscaling", "describe_auto_scaling_groups", {}),
    ("cloudwatch", "describe_alarms", {}),
    ("cloudwatch", "list_dashboards", {}),
    ("ec2", "describe_launch_templates", {}),
    ("ec2", "describe_security_groups", {}),
    ("ec2", "describe_subnets", {}),
    ("ec2", "describe_vpcs", {}),
    ("ec2", "describe_nat_gateways", {"Filters": [{"Name": "state", "Values": ["available"]}]}),
    ("elbv2", "describe_load_balancers", {}),
    ("elbv2", "describe_target_groups", {}),
    ("emr", "list_security_configurations", {}),
    ("events", "list_rules", {}),
    ("iam", "list_instance_profiles", {}),
    ("iam", "list_roles", {}),
    ("kafka", "list_clusters_v2", {}),
    ("kafka", "list_configurations", {}),
    ("kms", "list_aliases", {}),
    ("logs", "describe_log_groups", {}),
    ("s3", "list_buckets", {}),
    ("scheduler", "list_schedules", {}),
    ("secretsmanager", "list_secrets", {}),
    ("sns", "list_topics", {}),
    ("sqs", "list_queues", {}),
    ("stepfunctions", "list_state_machines", {}),
]


def test_destroy_leaves_nothing(transient: Stack, tmp_path: Path) -> None:
    stack = transient
    day = Day(stack, date(2026, 2, 21))
    day.take_in(tmp_path, "one")
    execution = day.start()
    wait_for_first_step(execution)
    before = set(left(stack))
    found = {service for service, _ in before}
    assert {"ec2", "emr", "iam", "kafka", "s3", "sqs", "stepfunctions"} <= found
    assert len(enabled_keys(stack)) == 1
    with stack.timed("destroy"):
        done = stack.deploy_command("destroy", "--env", ENVIRONMENT, "--yes")
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert done.stdout.endswith(f"{NAME} is destroyed\n")
    assert day.processes() == []
    assert left(stack) == []
    assert stack.client("s3").list_buckets()["Buckets"] == []  # not even that of the states
    alive = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]
    assert stack.client("emr").list_clusters(ClusterStates=alive)["Clusters"] == []
    assert enabled_keys(stack) == []
    deletions = ("Delete", "Detach", "Disassociate", "Release", "Remove", "Revoke", "Terminate")
    used, forgotten = forgotten_actions(stack, (*deletions, "ScheduleKeyDeletion", "StopExecution"))
    assert {"ec2:DeleteVpc", "s3:DeleteBucket", "kms:ScheduleKeyDeletion"} <= used
    assert forgotten == set()


def left(stack: Stack) -> list[tuple[str, str]]:
    """Returns the lists that still contain the environment's name."""
    found = []
    for service, operation, arguments in LISTS:
        answer = getattr(stack.client(service), operation)(**arguments)
        answer.pop("ResponseMetadata")
        if NAME in json.dumps(answer, default=str):
            found.append((service, operation))
    return found


def enabled_keys(stack: Stack) -> list[str]:
    """Returns the environment's KMS keys that are not scheduled for deletion."""
    kms = stack.client("kms")
    found = []
    for key in kms.list_keys()["Keys"]:
        tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
        state = kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
        if {"TagKey": "Stack", "TagValue": NAME} in tags and state["Enabled"]:
            found.append(key["KeyId"])
    return found

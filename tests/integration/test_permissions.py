"""The permissions of each role on AWS, compared with the calls that its programs make.

The calls are read from the code: boto3 operations in the modules that a role's programs import, aws
commands in its shell scripts, and tasks of the state machine. The permissions are read from the
policies that Terraform renders.
"""

import ast
import json
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import grimp
import pytest
from botocore import xform_name

from tests.support.paths import ROOT
from tests.support.rendered_policies import rendered_policies

INFRA = ROOT / "infra"
STORE = "superres.pipeline.storage.s3"
SERVICES = ("s3", "sqs", "kafka", "secretsmanager", "stepfunctions")
# Modules that call clients which other modules make.
CALLERS = {
    "ingestion.starts.queue",
    "ingestion.starts.executions",
    "superres.service.executions",
}

# Operations with another name than their permission, and those that boto3 adds to S3:
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations.html
PERMISSIONS = {
    "s3:DownloadFile": {"s3:GetObject"},
    "s3:UploadFile": {"s3:PutObject", "s3:AbortMultipartUpload"},  # multipart
    "s3:HeadObject": {"s3:GetObject"},
    "s3:ListObjectsV2": {"s3:ListBucket"},
    "s3:DeleteObjects": {"s3:DeleteObject"},
    "sqs:DeleteMessageBatch": {"sqs:DeleteMessage"},
    "sqs:ChangeMessageVisibilityBatch": {"sqs:ChangeMessageVisibility"},
    **{
        f"stepfunctions:{operation}": {f"states:{operation}"}
        for operation in ("DescribeExecution", "ListExecutions", "StartExecution")
    },
}
# https://docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html
KAFKA = {
    "Producer": {"Connect", "DescribeTopic", "WriteData", "WriteDataIdempotently"},
    "Consumer": {"Connect", "DescribeTopic", "ReadData", "AlterGroup", "DescribeGroup"},
    "AdminClient": {"Connect", "DescribeCluster", "DescribeTopic"},
    "NewTopic": {"CreateTopic"},
}
# Spark's S3 connector, which is Java:
# https://hadoop.apache.org/docs/stable/hadoop-aws/tools/hadoop-aws/assumed_roles.html
CONNECTOR = {
    *("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"),
    *("s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:ListMultipartUploadParts"),
}
# Encrypted data needs permissions for the key too.
KEY = {
    "s3:GetObject": {"kms:Decrypt"},
    "s3:PutObject": {"kms:GenerateDataKey", "kms:Decrypt"},  # Decrypt: to join parts
    "sqs:ReceiveMessage": {"kms:Decrypt"},
    "secretsmanager:GetSecretValue": {"kms:Decrypt"},
    "secretsmanager:PutSecretValue": {"kms:GenerateDataKey", "kms:Decrypt"},
}
# https://docs.aws.amazon.com/step-functions/latest/dg/emr-iam.html
TASKS = {
    "elasticmapreduce:createCluster.sync": {
        *("elasticmapreduce:RunJobFlow", "elasticmapreduce:DescribeCluster"),
        *("elasticmapreduce:TerminateJobFlows", "iam:PassRole"),
    },
    "elasticmapreduce:addStep.sync": {
        *("elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:DescribeStep"),
        "elasticmapreduce:CancelSteps",
    },
    "elasticmapreduce:terminateCluster.sync": {
        *("elasticmapreduce:TerminateJobFlows", "elasticmapreduce:DescribeCluster"),
    },
    "aws-sdk:emr:describeCluster": {"elasticmapreduce:DescribeCluster"},
    "aws-sdk:s3:listObjectsV2": {"s3:ListBucket"},
    "aws-sdk:s3:getObject": {"s3:GetObject", "kms:Decrypt"},
}
# Writes to the local disk: the notifier's cache, a comparison, trained weights.
LOCAL = {
    ("notifier.pictures", "write_bytes"),
    ("notifier.pictures", "staged"),
    ("superres.quality.comparison", "write_bytes"),
    ("superres.network.weights", "write_bytes"),
    ("superres.network.onnx_graph", "write_bytes"),
}


# ---- calls in the code


@cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("superres", "jobs", "ingestion", "notifier", cache_dir=None)


def modules_of(*programs: str) -> set[str]:
    """Returns programs and all modules that they import, directly or not."""
    graph = imports()
    return {*programs}.union(*(graph.find_upstream_modules(program) for program in programs))


def tree_of(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text())


@cache
def operations(service: str) -> dict[str, str]:
    """Returns a service's operations by boto3 method name."""
    make: Any = boto3.session.Session().client  # its types accept literal service names only
    client = make(service, region_name="eu-central-1")
    names = {xform_name(name): name for name in client.meta.service_model.operation_names}
    if service == "s3":  # added by boto3
        names |= {"upload_file": "UploadFile", "download_file": "DownloadFile"}
    return names


def calls_in(tree: ast.AST, services: Iterable[str] = SERVICES) -> set[str]:
    """Returns the operations that are called, paginated or presigned."""
    named = set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named.add(node.func.attr)
            if node.func.attr in ("get_paginator", "generate_presigned_url"):
                named |= {str(each.value) for each in node.args if isinstance(each, ast.Constant)}
    return {
        f"{service}:{operation}"
        for service in services
        for method, operation in operations(service).items()
        if method in named
    }


@cache
def storage_operations() -> dict[str, set[str]]:
    """Returns the S3 operations of each function of superres.pipeline.storage."""
    public, on_s3 = functions_in("superres.pipeline.storage"), functions_in(STORE)

    def calls_of(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        node = on_s3[name]
        called = {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}
        others = (called & on_s3.keys()) - seen - {name}
        return calls_in(node, ["s3"]).union(*(calls_of(other, seen | {name}) for other in others))

    # A public function calls the store's of the same name, or another public one.
    return {
        name: set[str]().union(*(calls_of(each) for each in called_in(node) & on_s3.keys()))
        for name, node in public.items()
    }


def functions_in(module: str) -> dict[str, ast.FunctionDef]:
    body = tree_of(module).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def called_in(tree: ast.AST) -> set[str]:
    """Returns the names of the functions that are called, of whatever they are attributes."""
    functions = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {function.id for function in functions if isinstance(function, ast.Name)}
    return names | {each.attr for each in functions if isinstance(each, ast.Attribute)}


def permissions_for(*programs: str) -> set[str]:
    """Returns the permissions that programs need for boto3 and Kafka's client."""
    calls, kafka = set[str](), set[str]()
    for module in modules_of(*programs):
        tree = tree_of(module)
        imported = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith("confluent_kafka")
            for alias in node.names
        }
        kafka |= {f"kafka-cluster:{action}" for name in imported for action in KAFKA.get(name, ())}
        if module == STORE:
            continue
        if "boto3" in imports_of(tree) or module in CALLERS:
            calls |= calls_in(tree)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "storage"
                and (module, node.attr) not in LOCAL
            ):
                calls |= storage_operations().get(node.attr, set())
    return kafka.union(*(PERMISSIONS.get(each, {each}) for each in calls))


def imports_of(tree: ast.Module) -> set[str]:
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import)]
    return {alias.name for node in nodes for alias in node.names}


def permissions_for_script(script: Path) -> set[str]:
    """Returns the permissions for the aws commands and the Python code in a shell script."""
    text = script.read_text()
    needed = {"s3:GetObject"} if re.search(r"\baws s3 cp\b", text) else set[str]()
    for source in re.findall(r"<<'PYTHON'\n(.*?)\nPYTHON\n", text, re.DOTALL):
        needed |= calls_in(ast.parse(source), ["secretsmanager"])
    return needed


def with_key(needed: set[str]) -> set[str]:
    return needed.union(*(KEY.get(each, set()) for each in needed))


def cluster_needs() -> set[str]:
    # A job file contains the module name of its function as text, not as an import.
    jobs = ("mass_split", "batch_inference", "mass_reconstruct", "evaluate", "fused", "stages")
    needed = permissions_for(*(f"jobs.{job}" for job in jobs)) | CONNECTOR
    return with_key(needed | permissions_for_script(ROOT / "bootstrap/install_fsrcnn.sh"))


def service_needs(*programs: str) -> set[str]:
    return with_key(
        permissions_for(*programs) | permissions_for_script(INFRA / "services/install.sh")
    )


def pipeline_needs() -> set[str]:
    text = (INFRA / "modules/orchestration/pipeline.asl.json").read_text()
    tasks = re.findall(r'"Resource": "arn:aws:states:::([\w:.-]+)"', text)
    assert tasks
    return set[str]().union(*(TASKS[task] for task in tasks))


# ---- permissions of the roles


@cache
def policies(module: str) -> dict[tuple[str, str], set[str]]:
    """Returns the allowed actions by run of the module's policies test and by output."""
    return {key: actions(json.loads(text)) for key, text in rendered_policies(module).items()}


def actions(policy: dict[str, Any]) -> set[str]:
    given = [each["Action"] for each in policy["Statement"] if each["Effect"] == "Allow"]
    return {a for each in given for a in ([each] if isinstance(each, str) else each)}


def ingestion() -> set[str]:
    clients = policies("streaming")[("clients_may_do_what_they_do_and_no_more", "client_policy")]
    known = policies("ingestion")
    with_kafka = known[("ingestion_may_do_what_it_does_and_no_more", "policy")]
    without_kafka = known[("without_kafka_and_load_balancer", "policy")]
    starts = policies("orchestration")[("new_images_may_start_executions", "starts_policy")]
    return clients | with_kafka | without_kafka | starts


def notifier() -> set[str]:
    return policies("notifier")[("the_notifier_may_do_what_it_does_and_no_more", "policy")]


def nodes() -> set[str]:
    run = "instances_may_do_what_jobs_do_and_no_more"
    return policies("processing")[(run, "node_policy")]


def pipeline() -> set[str]:
    run = "with_transient_clusters_it_makes_and_terminates_them"
    return policies("orchestration")[(run, "pipeline_policy")]


# Permissions without a call in our code, by service, with the reason.
INSTANCES = {
    "ssm": "a shell through Session Manager instead of SSH",
    "ssmmessages": "the same",
    "logs": "the CloudWatch agent sends logs",
}
GPUS = {"cloudwatch": "and how busy GPUs are"}
UNITS = INSTANCES | {"logs": "the CloudWatch agent sends the units' journals"}
LOG_DELIVERY = {
    "logs": "Step Functions delivers its log with the role of the state machine",
    "xray": "and its traces",
}
INGESTION = [
    f"ingestion.cli.{name}" for name in ("produce", "consume", "ingest", "uploads", "start_runs")
]
ROLES = {
    "ingestion": (
        lambda: service_needs(*INGESTION),
        ingestion,
        UNITS,
    ),
    "notifier": (lambda: service_needs("notifier.cli.notify"), notifier, UNITS),
    "nodes of EMR": (cluster_needs, nodes, INSTANCES | GPUS),
    "state machine": (pipeline_needs, pipeline, LOG_DELIVERY),
}


@pytest.mark.slow
@pytest.mark.terraform
@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_the_permissions_its_code_needs_and_no_other_services(role):
    needs, policy, other_services = ROLES[role]
    needed, allowed = needs(), policy()
    assert needed - allowed == set(), "needed by the code, but not allowed for the role"
    services = {action.partition(":")[0] for action in needed}
    extra = {action for action in allowed if action.partition(":")[0] not in services}
    assert {action.partition(":")[0] for action in extra} == set(other_services), extra
    assert not [action for action in allowed if "*" in action]


def test_the_calls_in_the_code_are_found():
    assert {"s3:PutObject", "kafka:GetBootstrapBrokers", "kafka-cluster:ReadData"} <= service_needs(
        *INGESTION
    )
    assert "sqs:ReceiveMessage" in service_needs("notifier.cli.notify")
    assert {"states:StartExecution", "sqs:DeleteMessage"} <= service_needs(
        "ingestion.cli.start_runs"
    )
    assert "s3:PutObject" not in service_needs("notifier.cli.notify")
    assert "s3:DeleteObject" not in service_needs("ingestion.cli.produce", "ingestion.cli.consume")
    assert "s3:DeleteObject" in service_needs("ingestion.cli.uploads")  # without Kafka
    assert "secretsmanager:PutSecretValue" in service_needs("notifier.cli.notify")
    assert permissions_for("jobs.stages") >= {"s3:DeleteObject", "s3:ListBucket", "s3:PutObject"}

# The state machine. Its definition is pipeline.asl.json, which gets names and ARNs from here.

locals {
  log_group_name = "/${var.name}/pipeline"
  raw_bucket     = split(":::", var.bucket_arns.raw)[1]
  work_bucket    = split(":::", var.bucket_arns.work)[1]
  transient      = var.cluster_lifecycle == "transient"

  definition = templatefile("${path.module}/pipeline.asl.json", merge(
    {
      cluster_lifecycle = var.cluster_lifecycle
      cluster_id        = local.transient ? "" : var.cluster_id
      cluster           = jsonencode(merge({ for key, value in var.run_job_flow : key => value if key != "Name" }, { "Name.$" = "States.Format('${var.name}-{}', $$.Execution.Name)" }))
      default_scale     = var.default_scale
      log_uri           = var.log_uri
      raw_bucket        = local.raw_bucket
      work_bucket       = local.work_bucket
      step_seconds      = var.step_seconds
    },
    # Each list as the arguments of the intrinsic function States.Array.
    { for job, arguments in var.steps : job => join(", ", [for argument in arguments : "'${argument}'"]) },
  ))
}

resource "aws_sfn_state_machine" "pipeline" {
  #checkov:skip=CKV_AWS_284:On unless the environment turns it off, as the local cloud does.

  name       = local.state_machine_name
  role_arn   = aws_iam_role.pipeline.arn
  type       = "STANDARD"
  definition = local.definition

  # No key of ours: the events of an encrypted execution would leave out input, error and cause,
  # which the notifier shows. None of them is secret.

  logging_configuration {
    level                  = "ALL"
    include_execution_data = true
    log_destination        = "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${aws_cloudwatch_log_group.pipeline.name}:*"
  }

  tracing_configuration {
    enabled = var.tracing
  }

  # Step Functions checks its permissions for the logs before it accepts the definition.
  depends_on = [aws_iam_role_policy.pipeline]
}

resource "aws_cloudwatch_log_group" "pipeline" {
  #checkov:skip=CKV_AWS_338:What an execution did stays in Step Functions for 90 days and in the runs' own records for ever.

  name              = local.log_group_name
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

# ---- what it may do

data "aws_iam_policy_document" "pipeline_trust" {
  statement {
    sid     = "StepFunctions"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["states.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = [local.state_machine_arn]
    }
  }
}

resource "aws_iam_role" "pipeline" {
  name               = "${var.name}-pipeline"
  description        = "The state machine ${local.state_machine_name}"
  assume_role_policy = data.aws_iam_policy_document.pipeline_trust.json
}

locals {
  clusters_arn = "arn:${local.partition}:elasticmapreduce:${local.region}:${local.account}:cluster"
  # The persistent cluster, or all clusters: the id of a future one is unknown. Of those, only the ones
  # with our tag, which modules/processing gives them when they are created.
  # https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-fine-grained-cluster-access.html
  cluster_tags = local.transient ? { Stack = var.name } : {}
  cluster_arn  = local.transient ? "${local.clusters_arn}/*" : "${local.clusters_arn}/${var.cluster_id}"
}

# https://docs.aws.amazon.com/step-functions/latest/dg/emr-iam.html
data "aws_iam_policy_document" "pipeline" {
  #checkov:skip=CKV_AWS_356:RunJobFlow and the delivery of logs and traces know no resource but *.
  #checkov:skip=CKV_AWS_111:As above.

  statement {
    sid       = "LookForImages"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arns.raw]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["low_resolution/*"]
    }
  }

  statement {
    sid       = "ReadReports"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket_arns.work}/run_id=*/reports/*"]
  }

  statement {
    sid       = "DecryptReports"
    actions   = ["kms:Decrypt"]
    resources = [var.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${local.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "RunSteps"
    actions   = ["elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:CancelSteps", "elasticmapreduce:DescribeCluster", "elasticmapreduce:DescribeStep"]
    resources = [local.cluster_arn]

    dynamic "condition" {
      for_each = local.cluster_tags

      content {
        test     = "StringEquals"
        variable = "elasticmapreduce:ResourceTag/${condition.key}"
        values   = [condition.value]
      }
    }
  }

  dynamic "statement" {
    for_each = local.transient ? ["a cluster for each execution"] : []

    content {
      sid       = "MakeCluster"
      actions   = ["elasticmapreduce:RunJobFlow"]
      resources = ["*"]

      dynamic "condition" {
        for_each = local.cluster_tags

        content {
          test     = "StringEquals"
          variable = "elasticmapreduce:RequestTag/${condition.key}"
          values   = [condition.value]
        }
      }
    }
  }

  dynamic "statement" {
    for_each = local.transient ? ["a cluster for each execution"] : []

    content {
      sid       = "SetUpAndTerminateCluster"
      actions   = ["elasticmapreduce:AddTags", "elasticmapreduce:PutAutoTerminationPolicy", "elasticmapreduce:PutManagedScalingPolicy", "elasticmapreduce:TerminateJobFlows"]
      resources = [local.cluster_arn]

      dynamic "condition" {
        for_each = local.cluster_tags

        content {
          test     = "StringEquals"
          variable = "elasticmapreduce:ResourceTag/${condition.key}"
          values   = [condition.value]
        }
      }
    }
  }

  dynamic "statement" {
    for_each = local.transient ? { Emr = ["elasticmapreduce.amazonaws.com", var.role_arns.service], Instances = ["ec2.amazonaws.com", var.role_arns.nodes] } : {}

    content {
      sid       = "PassRoleOf${statement.key}"
      actions   = ["iam:PassRole"]
      resources = [statement.value[1]]

      condition {
        test     = "StringEquals"
        variable = "iam:PassedToService"
        values   = [statement.value[0]]
      }
    }
  }

  # EMR needs it once in an account, to remove instances when all else has failed:
  # https://docs.aws.amazon.com/emr/latest/ManagementGuide/using-service-linked-roles-cleanup.html
  dynamic "statement" {
    for_each = local.transient ? ["a cluster for each execution"] : []

    content {
      sid       = "MakeCleanupRole"
      actions   = ["iam:CreateServiceLinkedRole"]
      resources = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/elasticmapreduce.amazonaws.com/AWSServiceRoleForEMRCleanup"]

      condition {
        test     = "StringEquals"
        variable = "iam:AWSServiceName"
        values   = ["elasticmapreduce.amazonaws.com"]
      }
    }
  }

  # https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html
  statement {
    sid = "DeliverLogs"
    actions = [
      "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
      "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
    ]
    resources = ["*"]
  }

  # https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html
  dynamic "statement" {
    for_each = var.tracing ? ["traces"] : []

    content {
      sid       = "SendTraces"
      actions   = ["xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments"]
      resources = ["*"]
    }
  }
}

resource "aws_iam_role_policy" "pipeline" {
  name   = "runs"
  role   = aws_iam_role.pipeline.name
  policy = data.aws_iam_policy_document.pipeline.json
}

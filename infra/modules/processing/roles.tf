# Two roles: EMR's own, with which it creates instances, and that of the instances, with which the jobs
# read and write. There is no role for automatic scaling: managed scaling needs none.

# ---- EMR

data "aws_iam_policy_document" "service_trust" {
  statement {
    sid     = "Emr"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["elasticmapreduce.amazonaws.com"]
    }

    # Without both, EMR could be made to use the role for another account (confused deputy):
    # https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-iam-role.html
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:elasticmapreduce:${local.region}:${local.account}:*"]
    }
  }
}

resource "aws_iam_role" "service" {
  name               = local.service_role_name
  description        = "EMR makes and removes instances with it"
  assume_role_policy = data.aws_iam_policy_document.service_trust.json

  tags = local.emr_tag
}

# What EMR needs changes with its releases, so AWS keeps the list. It reaches only what bears the tag.
# From version 6 (February 2026) on it has what EMR Spark 8 needs for its endpoint: to find one, and to
# create or change one that has the tag and the name emr-service-vpce.
# https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AmazonEMRServicePolicy_v2.html
resource "aws_iam_role_policy_attachment" "service" {
  role       = aws_iam_role.service.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
}

data "aws_iam_policy_document" "service" {
  # The managed policy lets it pass only the role that is called EMR_EC2_DefaultRole.
  statement {
    sid       = "PassRoleOfInstances"
    actions   = ["iam:PassRole"]
    resources = [local.node_role_arn]

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ec2.amazonaws.com"]
    }
  }

  # https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-encryption-enable.html
  statement {
    sid       = "EncryptDisks"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = [var.key_arn]
  }

  # The first request for a spot instance in an account needs this role to exist:
  # https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/service-linked-roles-spot-instance-requests.html
  statement {
    sid       = "MakeSpotRole"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["arn:${local.partition}:iam::${local.account}:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values   = ["spot.amazonaws.com"]
    }
  }

  # EC2 keeps the right to open a disk for as long as the instance lives.
  statement {
    sid       = "LetDisksBeOpened"
    actions   = ["kms:CreateGrant"]
    resources = [var.key_arn]

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

resource "aws_iam_role_policy" "service" {
  name   = "instances"
  role   = aws_iam_role.service.name
  policy = data.aws_iam_policy_document.service.json
}

# ---- the instances

data "aws_iam_policy_document" "node_trust" {
  statement {
    sid     = "Ec2"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "nodes" {
  name               = local.node_role_name
  description        = "Instances of EMR: bootstrap actions, jobs, logs"
  assume_role_policy = data.aws_iam_policy_document.node_trust.json

  tags = local.emr_tag
}

resource "aws_iam_instance_profile" "nodes" {
  name = local.node_role_name
  role = aws_iam_role.nodes.name

  tags = local.emr_tag
}

# The prefixes are those of the storage layout.
data "aws_iam_policy_document" "nodes" {
  statement {
    sid       = "ReadPackage"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket_arns.artifacts}/releases/*", "${var.bucket_arns.artifacts}/wheelhouses/*"]
  }

  statement {
    sid       = "ReadImages"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket_arns.raw}/high_resolution/*", "${var.bucket_arns.raw}/low_resolution/*"]
  }

  # Spark writes, reads and cleans up behind itself.
  statement {
    sid       = "UseTables"
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]
    resources = ["${var.bucket_arns.work}/run_id=*"]
  }

  statement {
    sid     = "WriteResults"
    actions = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
    resources = [
      "${var.bucket_arns.results}/evaluations/*",
      "${var.bucket_arns.results}/images/*",
      "${var.bucket_arns.results}/rejected/*",
      "${var.bucket_arns.results}/runs/*",
    ]
  }

  # An image that is done again is not finished meanwhile, and one that was rejected may be finished.
  statement {
    sid       = "ForgetOutcomes"
    actions   = ["s3:DeleteObject"]
    resources = ["${var.bucket_arns.results}/evaluations/*", "${var.bucket_arns.results}/rejected/*"]
  }

  # Without it, S3 answers a request for a key that does not exist with 403 instead of 404: Spark's S3
  # connector, which asks before it writes, would fail. A condition on s3:prefix would have the same
  # effect, because only requests to list have a prefix.
  # https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/amazon-s3-policy-keys.html
  statement {
    sid       = "ListWhereSparkWorks"
    actions   = ["s3:ListBucket"]
    resources = [var.bucket_arns.artifacts, var.bucket_arns.work]
  }

  # Only our own code reads these, and lists with a prefix, so a job that looks elsewhere is refused.
  dynamic "statement" {
    for_each = {
      raw     = ["high_resolution/*", "low_resolution/*"]
      results = ["evaluations/*", "images/*", "rejected/*", "runs/*"]
    }

    content {
      sid       = "List${title(statement.key)}"
      actions   = ["s3:ListBucket"]
      resources = [var.bucket_arns[statement.key]]

      condition {
        test     = "StringLike"
        variable = "s3:prefix"
        values   = statement.value
      }
    }
  }

  # The committer looks for uploads of its own that a killed task left.
  statement {
    sid       = "ListUnfinishedTables"
    actions   = ["s3:ListBucketMultipartUploads"]
    resources = [var.bucket_arns.work]
  }

  statement {
    sid       = "WriteLogs"
    actions   = ["s3:PutObject"]
    resources = ["${var.bucket_arns.logs}/emr/*"]
  }

  # The group is there already, so the agent need not create one or set its retention:
  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/create-iam-roles-for-cloudwatch-agent.html
  statement {
    sid       = "SendLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${local.log_group_name}:*"]
  }

  # How busy GPUs are. The action knows no resource but *, and is held to a namespace instead:
  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/iam-cw-condition-keys-namespace.html
  statement {
    sid       = "SendMetrics"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [var.name]
    }
  }

  # A shell through Session Manager, as for the services (modules/service/access.tf):
  # https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
  statement {
    sid       = "Sessions"
    actions   = ["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
    resources = ["*"]
  }

  statement {
    sid       = "ReportToSystemsManager"
    actions   = ["ssm:UpdateInstanceInformation"]
    resources = ["arn:${local.partition}:ec2:${local.region}:${local.account}:instance/*"]
  }

  # Objects are opened and closed with it, local disks encrypted.
  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}

resource "aws_iam_role_policy" "nodes" {
  name   = "jobs"
  role   = aws_iam_role.nodes.name
  policy = data.aws_iam_policy_document.nodes.json
}

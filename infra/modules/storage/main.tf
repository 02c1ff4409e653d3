# The key, the buckets and their policies. events.tf announces finished images,
# lifecycle.tf of what goes when.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # One bucket for each way of keeping: see README.md.
  names = toset(["raw", "work", "results", "artifacts", "logs"])
  # Built from names, not read from resources, so that a plan shows complete policies.
  buckets = { for name in local.names : name => "${var.name}-${name}-${local.account}-${local.region}" }
  arns    = { for name, bucket in local.buckets : name => "arn:${local.partition}:s3:::${bucket}" }
}

# ---- the key

resource "aws_kms_key" "data" {
  description             = "${var.name}: images, tables, messages, disks and logs"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_days
}

resource "aws_kms_alias" "data" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.data.key_id
}

# In a key's policy "*" means this key.
data "aws_iam_policy_document" "key" {
  #checkov:skip=CKV_AWS_109:As AWS advises, the account's own IAM decides: https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html
  #checkov:skip=CKV_AWS_111:The same; services are held to conditions, which a test asserts.
  #checkov:skip=CKV_AWS_356:In a key's policy "*" is this key.

  statement {
    sid       = "AccountDecidesByIam"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${local.partition}:iam::${local.account}:root"]
    }
  }

  # Without these two, events for an encrypted queue vanish silently. SQS lists S3 and EventBridge (by its
  # old name, CloudWatch Events) among the services that give aws:SourceArn when they use a queue's key;
  # for an encrypted topic EventBridge does not give it.
  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-key-management.html
  statement {
    sid       = "S3EventsToQueues"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }

    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [local.arns["results"]]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  statement {
    sid       = "EventBridgeToQueues"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:events:${local.region}:${local.account}:rule/${var.name}-*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  # As in the policy of AWS's own key for disks. Spot instances are started by a role that an empty
  # account does not have yet, and KMS refuses a policy that names a role which is not there.
  statement {
    sid       = "DisksOfInstances"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [local.account]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${local.region}.amazonaws.com"]
    }
  }

  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html
  statement {
    sid       = "LogGroups"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${local.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values   = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/${var.name}/*"]
    }
  }

  # SNS passes the topic when it encrypts, for every publisher. Without this, alarms are lost:
  # https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html
  statement {
    sid       = "AlarmsToTopics"
    actions   = ["kms:GenerateDataKey", "kms:Decrypt"]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:sns:topicArn"
      values   = ["arn:${local.partition}:sns:${local.region}:${local.account}:${var.name}-*"]
    }
  }
}

resource "aws_kms_key_policy" "data" {
  key_id = aws_kms_key.data.id
  policy = data.aws_iam_policy_document.key.json
}

# ---- the buckets

resource "aws_s3_bucket" "this" {
  #checkov:skip=CKV_AWS_144:A copy in another region doubles the price; the sources still have the images, and results can be computed again.
  #checkov:skip=CKV_AWS_21:Raw, results and artifacts are; tables of a run and logs are written once.
  #checkov:skip=CKV2_AWS_61:lifecycle.tf has one for each; checkov does not follow for_each.
  #checkov:skip=CKV2_AWS_62:Only results and raw have events that someone waits for.

  for_each = local.buckets

  bucket        = each.value
  force_destroy = var.force_destroy
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    # With a bucket key S3 calls KMS once for many objects: at 10⁹ images the price of KMS would
    # otherwise pass that of storage.
    bucket_key_enabled = each.key != "logs"

    apply_server_side_encryption_by_default {
      # AWS delivers access logs only into buckets that S3 encrypts with a key of its own:
      # https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
      sse_algorithm     = each.key == "logs" ? "AES256" : "aws:kms"
      kms_master_key_id = each.key == "logs" ? null : aws_kms_key.data.arn
    }
  }
}

resource "aws_s3_bucket_versioning" "this" {
  for_each = local.versioned

  bucket = aws_s3_bucket.this[each.key].id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_logging" "this" {
  for_each = var.access_logs ? local.logged : toset([])

  bucket        = aws_s3_bucket.this[each.key].id
  target_bucket = aws_s3_bucket.this["logs"].id
  target_prefix = "access/${each.key}/"

  depends_on = [aws_s3_bucket_policy.this]
}

locals {
  # What cannot be fetched or made again at no cost. Tables of a run and logs are written once.
  versioned = toset(["raw", "results", "artifacts"])
  # Tables of a run are read and written by the million, by one role only.
  logged = toset(["raw", "results", "artifacts"])
}

# ---- who may not, and who delivers logs

data "aws_iam_policy_document" "bucket" {
  for_each = local.arns

  statement {
    sid       = "DenyPlainTransport"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value, "${each.value}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  statement {
    sid       = "DenyOldTransport"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value, "${each.value}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "NumericLessThan"
      variable = "s3:TlsVersion"
      values   = ["1.2"]
    }
  }

  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html
  dynamic "statement" {
    for_each = each.key == "logs" ? ["access logs of the other buckets"] : []

    content {
      sid       = "AllowAccessLogs"
      actions   = ["s3:PutObject"]
      resources = ["${each.value}/access/*"]

      principals {
        type        = "Service"
        identifiers = ["logging.s3.amazonaws.com"]
      }

      condition {
        test     = "ArnEquals"
        variable = "aws:SourceArn"
        values   = [for name in local.logged : local.arns[name]]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }

  # The path names the account, whose load balancers alone are recorded there:
  # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
  dynamic "statement" {
    for_each = each.key == "logs" ? ["requests to the load balancer"] : []

    content {
      sid       = "AllowLoadBalancerLogs"
      actions   = ["s3:PutObject"]
      resources = ["${each.value}/balancer/AWSLogs/${local.account}/*"]

      principals {
        type        = "Service"
        identifiers = ["logdelivery.elasticloadbalancing.amazonaws.com"]
      }
    }
  }

  # https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-s3-permissions.html
  dynamic "statement" {
    for_each = each.key == "logs" ? { AllowFlowLogs = ["s3:PutObject", "${each.value}/network/*"], AllowFlowLogsCheck = ["s3:GetBucketAcl", each.value] } : {}

    content {
      sid       = statement.key
      actions   = [statement.value[0]]
      resources = [statement.value[1]]

      principals {
        type        = "Service"
        identifiers = ["delivery.logs.amazonaws.com"]
      }

      condition {
        test     = "ArnLike"
        variable = "aws:SourceArn"
        values   = ["arn:${local.partition}:logs:${local.region}:${local.account}:*"]
      }

      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [local.account]
      }
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  policy = data.aws_iam_policy_document.bucket[each.key].json

  # S3 refuses a policy while the block is being put (409).
  depends_on = [aws_s3_bucket_public_access_block.this]
}

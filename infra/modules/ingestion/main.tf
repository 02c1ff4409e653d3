# Ingestion: instances that consume references from Kafka and receive uploads. A producer is
# started on one of them by hand (README.md). Without Kafka, the one instance stores what it receives.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  name      = "${var.name}-ingestion"
  port      = var.target == null ? 8081 : var.target.port

  # Built from names, not read from resources, so that a plan shows complete policies. Secrets
  # Manager appends six characters of its own.
  secret_name = "${var.name}/upload-token"
  secret_arn  = "arn:${local.partition}:secretsmanager:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:secret:${local.secret_name}-??????"
  raw         = "arn:${local.partition}:s3:::${var.buckets["raw"]}"
  results     = "arn:${local.partition}:s3:::${var.buckets["results"]}"
}

module "service" {
  source = "../service"

  name               = local.name
  vpc_id             = var.vpc_id
  subnet_ids         = var.subnet_ids
  security_group_ids = var.kafka[*].security_group_id
  target             = var.target
  bucket             = var.buckets["artifacts"]
  files              = var.files
  units              = concat(var.kafka == null ? ["uploads"] : ["consume", "uploads"], var.starts == null ? [] : ["start-runs"])
  instance_type      = var.instance_type
  instances          = var.instances
  key_arn            = var.key_arn
  log_group          = { name = "/${var.name}/services/ingestion", days = var.log_days }
  # Images are written below our key, a part at a time when they are large.
  encrypts_for = ["s3"]
  decrypts_for = var.starts == null ? [] : ["sqs"]
  policies     = concat(var.kafka[*].policy, var.starts[*].policy, [data.aws_iam_policy_document.storage.json])
  # Two would both store what one of them left behind.
  replace_first = var.kafka == null

  settings = merge(
    {
      # Without a load balancer, only sessions of Session Manager reach it, from the instance itself.
      SUPERRES_INGESTION__UPLOAD_HOST    = var.target == null ? "127.0.0.1" : "0.0.0.0"
      SUPERRES_INGESTION__UPLOAD_PORT    = tostring(local.port)
      SUPERRES_INGESTION__UPLOAD_PROXIES = var.target == null ? "0" : "1" # the load balancer
      SUPERRES_KAFKA__ENABLED            = tostring(var.kafka != null)
    },
    var.kafka == null ? {} : {
      SUPERRES_KAFKA__CLUSTER_ARN = var.kafka.cluster_arn
      SUPERRES_KAFKA__REGION      = data.aws_region.current.name
      SUPERRES_KAFKA__SECURITY    = "iam"
    },
    var.starts == null ? {} : {
      SUPERRES_STARTS__QUEUE_URL         = var.starts.queue_url
      SUPERRES_STARTS__STATE_MACHINE_ARN = var.starts.state_machine_arn
    },
  )

  secrets = [{
    unit     = "uploads"
    variable = "SUPERRES_UPLOAD_TOKEN"
    id       = aws_secretsmanager_secret.upload_token.name
    arn      = local.secret_arn
    fill     = true
  }]
}

# Empty: an instance fills it with a random value, so that the state contains no secret.
resource "aws_secretsmanager_secret" "upload_token" {
  #checkov:skip=CKV2_AWS_57:A token that people and programs use is replaced when they can be informed, not on a schedule.

  name                    = local.secret_name
  description             = "What an upload must bear in its Authorization header"
  kms_key_id              = var.key_arn
  recovery_window_in_days = var.secret_recovery_days
}

# The S3 permissions that the code needs: superres/pipeline/storage/s3.py, superres/pipeline/arrival.py, ingestion/.
data "aws_iam_policy_document" "storage" {
  statement {
    sid       = "ReadUploads"
    actions   = ["s3:GetObject"]
    resources = ["${local.raw}/uploads/*"]
  }

  # Large files are uploaded in parts, which are deleted if one fails.
  statement {
    sid     = "StoreImages"
    actions = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = [
      "${local.raw}/uploads/*",
      "${local.raw}/high_resolution/*",
      "${local.raw}/low_resolution/*",
    ]
  }

  # Without Kafka, the reference of an upload waits in S3 until its image is stored.
  dynamic "statement" {
    for_each = var.kafka == null ? ["kafka"] : []

    content {
      sid       = "ForgetWhatIsStored"
      actions   = ["s3:DeleteObject"]
      resources = ["${local.raw}/uploads/pending/*"]
    }
  }

  statement {
    sid       = "RecordRejections"
    actions   = ["s3:PutObject"]
    resources = ["${local.results}/rejected/*"]
  }

  # With ListBucket, a missing object is not reported as access denied.
  statement {
    sid       = "LookUp"
    actions   = ["s3:ListBucket"]
    resources = [local.raw]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["low_resolution/*", "uploads/*"]
    }
  }
}

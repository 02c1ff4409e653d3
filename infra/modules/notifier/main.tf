# The notifier: gallery, REST API and webhooks. database.tf makes a PostgreSQL for several
# of them; on SQLite there is one.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name
  account   = data.aws_caller_identity.current.account_id
  name      = "${var.name}-notifier"
  port      = var.target == null ? 8080 : var.target.port
  postgres  = var.database != null

  # Built from names, not read from resources, so that a plan shows complete policies. Secrets
  # Manager appends six characters of its own.
  secret_name = "${var.name}/notifier-token"
  secret_arn  = "arn:${local.partition}:secretsmanager:${local.region}:${local.account}:secret:${local.secret_name}-??????"
  queue_arns  = [for queue in var.queues : "arn:${local.partition}:sqs:${local.region}:${local.account}:${queue.name}"]
  raw         = "arn:${local.partition}:s3:::${var.buckets["raw"]}"
  results     = "arn:${local.partition}:s3:::${var.buckets["results"]}"
}

module "service" {
  source = "../service"

  name          = local.name
  vpc_id        = var.vpc_id
  subnet_ids    = var.subnet_ids
  target        = var.target
  bucket        = var.buckets["artifacts"]
  files         = var.files
  units         = ["notify"]
  instance_type = var.instance_type
  instances     = var.instances
  # Two with their own SQLite would each get half of the events until their next scan.
  replace_first = !local.postgres
  key_arn       = var.key_arn
  log_group     = { name = "/${var.name}/services/notifier", days = var.log_days }
  decrypts_for  = ["sqs"]
  policies      = [data.aws_iam_policy_document.reads.json]

  settings = merge(local.database_settings, {
    # Without a load balancer, only sessions of Session Manager reach it, from the instance itself.
    SUPERRES_NOTIFIER__HOST             = var.target == null ? "127.0.0.1" : "0.0.0.0"
    SUPERRES_NOTIFIER__PORT             = tostring(local.port)
    SUPERRES_NOTIFIER__PROXIES          = var.target == null ? "0" : "1" # the load balancer
    SUPERRES_NOTIFIER__PUBLIC_URL       = var.public_url
    SUPERRES_NOTIFIER__PUBLIC_GALLERY   = tostring(var.public_gallery)
    SUPERRES_NOTIFIER__UPLOADS_URL      = var.uploads_url
    SUPERRES_NOTIFIER__EVENTS_QUEUE_URL = var.queues["evaluations"].url
    SUPERRES_NOTIFIER__RUNS_QUEUE_URL   = var.queues["run_status"].url
  })

  secrets = concat(local.database_secrets, [{
    unit     = "notify"
    variable = "SUPERRES_NOTIFIER_TOKEN"
    id       = aws_secretsmanager_secret.token.name
    arn      = local.secret_arn
    fill     = true
  }])
}

# Empty: an instance fills it with a random value, so that the state contains no secret.
resource "aws_secretsmanager_secret" "token" {
  #checkov:skip=CKV2_AWS_57:A token that people and programs use is replaced when they can be informed, not on a schedule.

  name                    = local.secret_name
  description             = "What a person logs in with, and what a request that changes something must bear"
  kms_key_id              = var.key_arn
  recovery_window_in_days = var.secret_recovery_days
}

# The permissions that the code needs: notifier/listening, notifier/pictures.py, notifier/web/media.py.
data "aws_iam_policy_document" "reads" {
  statement {
    sid       = "HearOfResults"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    resources = local.queue_arns
  }

  # Pictures are shown by URLs signed with these rights.
  statement {
    sid     = "ReadResults"
    actions = ["s3:GetObject"]
    resources = [
      "${local.results}/evaluations/*",
      "${local.results}/images/*",
      "${local.results}/runs/*",
      "${local.raw}/high_resolution/*",
      "${local.raw}/low_resolution/*",
    ]
  }

  statement {
    sid       = "LookThroughResults"
    actions   = ["s3:ListBucket"]
    resources = [local.results]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["evaluations", "evaluations/*", "images/*", "runs/*"]
    }
  }

  statement {
    sid       = "LookUpOriginals"
    actions   = ["s3:ListBucket"]
    resources = [local.raw]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"
      values   = ["high_resolution/*", "low_resolution/*"]
    }
  }
}

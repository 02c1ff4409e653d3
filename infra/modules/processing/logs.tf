# Where the logs of steps outlive their cluster: bootstrap/send_logs.sh sends them as they are written,
# from every instance, a log stream for each file. EMR copies them to S3 besides (log_uri).

locals {
  log_group_name = "/${var.name}/steps"
}

resource "aws_cloudwatch_log_group" "steps" {
  #checkov:skip=CKV_AWS_338:The log of a step is for finding a fault; what a run did stays in its records for ever.

  name              = local.log_group_name
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

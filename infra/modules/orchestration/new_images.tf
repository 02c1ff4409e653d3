# New images start runs: S3 sends EventBridge an event for every object in the raw bucket, a rule picks out the
# low-resolution images, and a queue keeps them until an execution that modules/ingestion started has succeeded.

locals {
  new_images_name     = "${var.name}-new-images"
  new_images_rule_arn = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${local.new_images_name}"
}

module "new_images" {
  source = "../queue"

  name    = local.new_images_name
  key_arn = var.key_arn
  # A message stays hidden for twelve hours at most, then it is received again: so it lives through
  # executions, and failures of them, of eight days. Whatever still fails then goes to the dead
  # letters, before the queue would drop it. Replaced instances cost a receive, too.
  # https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
  receive_limit     = 16
  retention_seconds = 864000 # ten days

  senders = {
    AllowNewImages = {
      service    = "events.amazonaws.com"
      source_arn = local.new_images_rule_arn
    }
  }
}

# Mode evaluate also stores high_resolution/, which starts nothing.
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html
resource "aws_cloudwatch_event_rule" "new_images" {
  name        = local.new_images_name
  description = "A low-resolution image was stored in ${local.raw_bucket}"
  state       = var.starts.on_new_images ? "ENABLED" : "DISABLED"

  event_pattern = jsonencode({
    source      = ["aws.s3"]
    detail-type = ["Object Created"]
    detail = {
      bucket = { name = [local.raw_bucket] }
      object = { key = [{ prefix = "low_resolution/" }] }
    }
  })
}

# What cannot be delivered is tried again for a day, the most there is. Without a role: for a queue
# EventBridge uses the queue's policy.
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-use-resource-based.html
resource "aws_cloudwatch_event_target" "new_images" {
  rule      = aws_cloudwatch_event_rule.new_images.name
  target_id = "queue"
  arn       = module.new_images.queue.arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
}

# What an instance that starts executions may do; modules/ingestion gives it to its role.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
data "aws_iam_policy_document" "starts" {
  statement {
    sid       = "HearOfNewImages"
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    resources = ["arn:${local.partition}:sqs:${local.region}:${local.account}:${local.new_images_name}"]
  }

  statement {
    sid       = "StartRuns"
    actions   = ["states:ListExecutions", "states:StartExecution"]
    resources = [local.state_machine_arn]
  }

  # Which runs an execution has that another instance started.
  statement {
    sid       = "LookAtStartedRuns"
    actions   = ["states:DescribeExecution"]
    resources = ["arn:${local.partition}:states:${local.region}:${local.account}:execution:${local.state_machine_name}:new-images-*"]
  }
}

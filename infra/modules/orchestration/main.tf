# The queue with the status of executions, which the notifier reads. The state machine itself is in
# pipeline.tf and pipeline.asl.json; what starts it in schedule.tf and new_images.tf.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # Built from names, not read from resources, so that a plan shows complete policies.
  state_machine_name = "${var.name}-pipeline"
  state_machine_arn  = "arn:${local.partition}:states:${local.region}:${local.account}:stateMachine:${local.state_machine_name}"
  rule_name          = "${var.name}-run-status"
  rule_arn           = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${local.rule_name}"
}

module "run_status" {
  source = "../queue"

  name    = local.rule_name
  key_arn = var.key_arn

  senders = {
    AllowStatusOfRuns = {
      service    = "events.amazonaws.com"
      source_arn = local.rule_arn
    }
  }
}

# https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
resource "aws_cloudwatch_event_rule" "run_status" {
  name        = local.rule_name
  description = "A run of ${local.state_machine_name} began or ended"

  event_pattern = jsonencode({
    source      = ["aws.states"]
    detail-type = ["Step Functions Execution Status Change"]
    detail      = { stateMachineArn = [local.state_machine_arn] }
  })
}

# What cannot be delivered is tried again for a day, the most there is; the event itself is sent as
# it is, since the notifier reads it so.
resource "aws_cloudwatch_event_target" "run_status" {
  rule      = aws_cloudwatch_event_rule.run_status.name
  target_id = "queue"
  arn       = module.run_status.queue.arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }
}

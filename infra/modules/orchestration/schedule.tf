# The clock: starts the state machine with the moment it was meant for, so that a start which came
# late still runs the day it belongs to.

resource "aws_scheduler_schedule" "pipeline" {
  #checkov:skip=CKV_AWS_297:It contains only a placeholder.

  name                         = local.state_machine_name
  description                  = "Runs the images of yesterday and today"
  schedule_expression          = var.schedule.expression
  schedule_expression_timezone = "UTC"
  state                        = var.schedule.enabled ? "ENABLED" : "DISABLED"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = local.state_machine_arn
    role_arn = aws_iam_role.schedule.arn
    # Scheduler knows this word: https://docs.aws.amazon.com/scheduler/latest/UserGuide/managing-schedule-context-attributes.html
    # (jsonencode would write its brackets as \u003c and \u003e.)
    input = "{\"scheduled_time\": \"<aws.scheduler.scheduled-time>\"}"

    # The next start does what a lost one left.
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 10
    }
  }

  depends_on = [aws_sfn_state_machine.pipeline, aws_iam_role_policy.schedule]
}

data "aws_iam_policy_document" "schedule_trust" {
  statement {
    sid     = "Scheduler"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["scheduler.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }

    # A role is for the group that the schedule is in, not for the schedule:
    # https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule-group/default"]
    }
  }
}

resource "aws_iam_role" "schedule" {
  name               = "${var.name}-schedule"
  description        = "Starts ${local.state_machine_name} by the clock"
  assume_role_policy = data.aws_iam_policy_document.schedule_trust.json
}

data "aws_iam_policy_document" "schedule" {
  statement {
    sid       = "StartPipeline"
    actions   = ["states:StartExecution"]
    resources = [local.state_machine_arn]
  }
}

resource "aws_iam_role_policy" "schedule" {
  name   = "start"
  role   = aws_iam_role.schedule.name
  policy = data.aws_iam_policy_document.schedule.json
}

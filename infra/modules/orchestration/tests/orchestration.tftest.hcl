mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  # Rendered in policies.tftest.hcl.
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }

  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:superres-test-run-status" }
  }
}

variables {
  name    = "superres-test"
  key_arn = "arn:aws:kms:eu-central-1:123456789012:key/data"
}

run "how_runs_stand_is_told_to_the_queue" {
  command = apply

  assert {
    condition     = aws_cloudwatch_event_target.run_status.arn == output.run_status.arn && aws_cloudwatch_event_target.run_status.rule == aws_cloudwatch_event_rule.run_status.name
    error_message = "What the rule finds goes to the queue."
  }

  assert {
    condition     = aws_cloudwatch_event_target.run_status.input == null && length(aws_cloudwatch_event_target.run_status.input_transformer) == 0
    error_message = "The notifier reads the event as EventBridge sends it."
  }
}

# The real provider renders the policies, from names alone. A plan of what is new asks AWS nothing.
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.run_status.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  name    = "superres-test"
  key_arn = "arn:aws:kms:eu-central-1:123456789012:key/data"
}

run "policies" {
  command = plan

  # The queue takes events of the rule alone.
  assert {
    condition = [for each in jsondecode(output.run_status_policy).Statement : each if each.Effect == "Allow"] == [{
      Sid       = "AllowStatusOfRuns"
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:eu-central-1:123456789012:superres-test-run-status"
      Principal = { Service = "events.amazonaws.com" }
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:events:eu-central-1:123456789012:rule/superres-test-run-status" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "The queue must let EventBridge send what this rule finds, and nothing else."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.run_status.name == "superres-test-run-status"
    error_message = "The queue's and the key's policies know the rule by this name."
  }

  # The rule hears of this state machine alone.
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.run_status.event_pattern) == {
      source      = ["aws.states"]
      detail-type = ["Step Functions Execution Status Change"]
      detail      = { stateMachineArn = ["arn:aws:states:eu-central-1:123456789012:stateMachine:superres-test-pipeline"] }
    }
    error_message = "Runs of other state machines are not ours to tell."
  }
}

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

run "policies" {
  command = plan

  # Senders may send for their source and no one else.
  assert {
    condition = jsondecode(aws_sqs_queue_policy.this.policy).Statement[0] == {
      Sid       = "AllowEventsOfResults"
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:eu-central-1:123456789012:superres-test-evaluations"
      Principal = { Service = "s3.amazonaws.com" }
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:s3:::results" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }
    error_message = "S3 must be allowed to send for this bucket of this account, and only that."
  }

  assert {
    condition     = length([for each in jsondecode(aws_sqs_queue_policy.this.policy).Statement : each if each.Effect == "Allow"]) == 1
    error_message = "Only the senders that were named are allowed anything."
  }

  # Both queues refuse plain http.
  assert {
    condition = alltrue([
      for policy in [aws_sqs_queue_policy.this.policy, aws_sqs_queue_policy.dead_letters.policy] :
      anytrue([
        for each in jsondecode(policy).Statement :
        each.Effect == "Deny" && each.Action == "sqs:*" && try(each.Condition.Bool["aws:SecureTransport"], "") == "false"
      ])
    ])
    error_message = "A request without TLS must be denied."
  }
}

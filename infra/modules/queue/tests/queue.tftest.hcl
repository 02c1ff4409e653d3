mock_provider "aws" {
  source = "../../tests/mocks"
}

override_resource {
  target = aws_sqs_queue.dead_letters
  values = { arn = "arn:aws:sqs:eu-central-1:123456789012:superres-test-evaluations-dead-letters" }
}

run "by_default" {
  command = apply

  # What cannot be handled is kept.
  assert {
    condition = jsondecode(aws_sqs_queue.this.redrive_policy) == {
      deadLetterTargetArn = "arn:aws:sqs:eu-central-1:123456789012:superres-test-evaluations-dead-letters"
      maxReceiveCount     = 5
    }
    error_message = "After five receives a message belongs to the dead-letter queue."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue_redrive_allow_policy.dead_letters.redrive_allow_policy).sourceQueueArns == ["arn:aws:sqs:eu-central-1:123456789012:superres-test-evaluations"]
    error_message = "Only this queue may use its dead-letter queue."
  }

  assert {
    condition     = aws_sqs_queue.dead_letters.message_retention_seconds > aws_sqs_queue.this.message_retention_seconds
    error_message = "Age counts from the first queue, so the dead-letter queue must keep messages longer."
  }

  # Messages are encrypted with the key.
  assert {
    condition     = aws_sqs_queue.this.kms_master_key_id == var.key_arn && aws_sqs_queue.dead_letters.kms_master_key_id == var.key_arn
    error_message = "Both queues use the customer key."
  }
}

run "a_key_alias_is_refused" {
  command = plan

  variables {
    key_arn = "alias/aws/sqs"
  }

  expect_failures = [var.key_arn]
}

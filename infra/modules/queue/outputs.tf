output "queue" {
  description = "ARN, URL and name of the queue; there once its policy is."
  value = {
    arn  = aws_sqs_queue.this.arn
    url  = aws_sqs_queue.this.url
    name = aws_sqs_queue.this.name
  }

  depends_on = [aws_sqs_queue_policy.this]
}

output "dead_letters" {
  description = "ARN, URL and name of the dead-letter queue."
  value = {
    arn  = aws_sqs_queue.dead_letters.arn
    url  = aws_sqs_queue.dead_letters.url
    name = aws_sqs_queue.dead_letters.name
  }
}

output "policy" {
  description = "The queue's policy, for tests of the modules that name its senders."
  value       = data.aws_iam_policy_document.queue.json
}

output "patience" {
  description = "How long a message waits and how often it is received, for tests of the modules that choose it."
  value = {
    retention_seconds = aws_sqs_queue.this.message_retention_seconds
    receive_limit     = jsondecode(aws_sqs_queue.this.redrive_policy).maxReceiveCount
  }
}

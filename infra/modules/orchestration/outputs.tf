output "state_machine_name" {
  description = "What the state machine is called; the rule knows it by that."
  value       = local.state_machine_name
}

output "state_machine_arn" {
  description = "ARN of the state machine, ready to be started."
  value       = local.state_machine_arn

  depends_on = [aws_sfn_state_machine.pipeline]
}

output "log_group" {
  description = "Where executions write what they do."
  value       = aws_cloudwatch_log_group.pipeline.name
}

output "run_status" {
  description = "ARN, URL and name of the queue with the status of executions."
  value       = module.run_status.queue
}

output "run_status_dead_letters" {
  description = "ARN, URL and name of its dead-letter queue."
  value       = module.run_status.dead_letters
}

output "run_status_policy" {
  description = "The policy of that queue, for tests."
  value       = module.run_status.policy
}

output "new_images_rule" {
  description = "Name of the rule that picks out new images."
  value       = aws_cloudwatch_event_rule.new_images.name
}

output "new_images" {
  description = "ARN, URL and name of the queue with events of new images."
  value       = module.new_images.queue
}

output "new_images_dead_letters" {
  description = "ARN, URL and name of its dead-letter queue."
  value       = module.new_images.dead_letters
}

output "new_images_policy" {
  description = "The policy of that queue, for tests."
  value       = module.new_images.policy
}

output "starts_policy" {
  description = "What an instance may do that starts executions for new images, as JSON."
  value       = data.aws_iam_policy_document.starts.json
}

output "definition" {
  description = "The state machine, in the Amazon States Language, for tests."
  value       = local.definition
}

output "pipeline_policy" {
  description = "What the state machine may do, for tests."
  value       = data.aws_iam_policy_document.pipeline.json
}

output "schedule_policy" {
  description = "What the clock may do, for tests."
  value       = data.aws_iam_policy_document.schedule.json
}

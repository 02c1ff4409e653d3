output "state_machine_name" {
  description = "What the state machine is called; the rule knows it by that."
  value       = local.state_machine_name
}

output "run_status" {
  description = "ARN, URL and name of the queue that hears how runs stand."
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

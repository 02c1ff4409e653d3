output "group_name" {
  description = "Name of the Auto Scaling group."
  value       = module.service.group_name
}

output "role_name" {
  description = "Name of the instances' role."
  value       = module.service.role_name
}

output "token" {
  description = "Name of the secret with the notifier's token."
  value       = aws_secretsmanager_secret.token.name
}

output "database_identifier" {
  description = "What RDS calls the PostgreSQL; null where there is none."
  value       = one(aws_db_instance.this[*].identifier)
}

output "policy" {
  description = "What the role may do, as JSON, for tests."
  value       = module.service.policy
}

output "user_data" {
  description = "What an instance runs as it starts, for tests."
  value       = module.service.user_data
}

output "log_group" {
  description = "Name of the log group with the service's journals."
  value       = module.service.log_group
}

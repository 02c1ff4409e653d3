output "group_name" {
  description = "Name of the Auto Scaling group."
  value       = aws_autoscaling_group.this.name
}

output "role_name" {
  description = "Name of the instances' role."
  value       = aws_iam_role.this.name
}

output "security_group_id" {
  description = "Id of the instances' security group."
  value       = aws_security_group.this.id
}

output "log_group" {
  description = "Name of the log group with the units' journals."
  value       = aws_cloudwatch_log_group.this.name
}

output "policy" {
  description = "What the role may do, as JSON, for tests of the modules that name its parts."
  value       = data.aws_iam_policy_document.role.json
}

output "user_data" {
  description = "What an instance runs as it starts, for tests."
  value       = local.user_data
}

output "role_arn" {
  description = "ARN of the role, for role_arn in a profile of ~/.aws/config."
  value       = aws_iam_role.deploy.arn
}

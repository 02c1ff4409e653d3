output "cluster_arn" {
  description = "ARN of the cluster; GetBootstrapBrokers answers with its present addresses."
  value       = aws_msk_cluster.this.arn
}

output "cluster_name" {
  description = "Name of the cluster, by which CloudWatch knows it."
  value       = aws_msk_cluster.this.cluster_name
}

output "bootstrap_brokers" {
  description = "Addresses of brokers for clients with IAM, for a look: they may differ after each apply, so services ask at their start."
  value       = aws_msk_cluster.this.bootstrap_brokers_sasl_iam
}

output "clients_security_group_id" {
  description = "Id of the security group that a host bears to reach the brokers."
  value       = aws_security_group.clients.id
}

output "client_policy" {
  description = "Policy of a role that produces and consumes, as JSON."
  value       = data.aws_iam_policy_document.client.json
}

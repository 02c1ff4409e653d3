output "cluster_id" {
  description = "Id of the persistent cluster, ready for steps; null with a transient one."
  value       = one(aws_emr_cluster.this[*].id)

  # A step must find the fleet that inference runs on.
  depends_on = [aws_emr_instance_fleet.task, aws_emr_managed_scaling_policy.this]
}

output "run_job_flow" {
  description = "A transient cluster as parameters for createCluster of Step Functions, in the form of RunJobFlow."
  value       = local.run_job_flow

  # A cluster made before its roles may do anything, or before EMR can be reached, fails.
  depends_on = [
    aws_cloudwatch_log_group.steps,
    aws_iam_role_policy.service,
    aws_iam_role_policy_attachment.service,
    aws_iam_role_policy.nodes,
    aws_vpc_endpoint.emr,
    aws_vpc_security_group_egress_rule.between,
    aws_vpc_security_group_egress_rule.endpoint,
    aws_vpc_security_group_egress_rule.https,
    aws_vpc_security_group_egress_rule.packages,
    aws_vpc_security_group_ingress_rule.between,
    aws_vpc_security_group_ingress_rule.endpoint,
  ]
}

output "steps" {
  description = "Arguments of command-runner.jar for each job, up to where --run-id and the like follow."
  value       = local.steps
}

output "role_arns" {
  description = "ARNs of the roles passed on when a cluster is created: EMR's and that of the instances."
  value       = { service = local.service_role_arn, nodes = local.node_role_arn }
}

output "log_uri" {
  description = "Where clusters put their logs."
  value       = local.log_uri
}

output "log_group" {
  description = "Name of the log group that steps are logged to as they run."
  value       = aws_cloudwatch_log_group.steps.name
}

output "node_policy" {
  description = "What the instances may do, for tests."
  value       = data.aws_iam_policy_document.nodes.json
}

output "service_policy" {
  description = "What EMR may do beside the managed policy, for tests."
  value       = data.aws_iam_policy_document.service.json
}

output "cluster" {
  description = "The persistent cluster as it is, for tests; null with a transient one."
  value       = one(aws_emr_cluster.this[*])
}

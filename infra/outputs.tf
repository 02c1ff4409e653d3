output "name" {
  description = "What every name begins with."
  value       = local.name
}

output "region" {
  description = "Region of all resources."
  value       = var.region
}

output "buckets" {
  description = "Names of the buckets: raw, work, results, artifacts, logs."
  value       = module.storage.buckets
}

output "cluster_arn" {
  description = "ARN of the Kafka cluster, for GetBootstrapBrokers; null without Kafka."
  value       = one(module.streaming[*].cluster_arn)
}

output "queues" {
  description = "URLs of the queues that the notifier and what starts runs read, and of their dead-letter queues."
  value = {
    evaluations              = module.storage.evaluations.url
    evaluations_dead_letters = module.storage.evaluations_dead_letters.url
    run_status               = module.orchestration.run_status.url
    run_status_dead_letters  = module.orchestration.run_status_dead_letters.url
    new_images               = module.orchestration.new_images.url
    new_images_dead_letters  = module.orchestration.new_images_dead_letters.url
  }
}

output "page_url" {
  description = "Address of the gallery; with a certificate, once the host name points to load_balancer_dns_name. Without a load balancer, once that port is forwarded."
  value       = local.page_url
}

output "uploads_url" {
  description = "Address for uploading photographs."
  value       = local.uploads_url
}

output "load_balancer_dns_name" {
  description = "DNS name of the load balancer, null without one; make the host name an alias (CNAME) of it."
  value       = local.dns_name
}

output "tokens" {
  description = "Names of the secrets with the tokens of gallery and uploads; the first instance that starts creates each token."
  value = {
    notifier = module.notifier.token
    uploads  = module.ingestion.upload_token
  }
}

output "service_groups" {
  description = "Names of the Auto Scaling groups."
  value = {
    ingestion = module.ingestion.group_name
    notifier  = module.notifier.group_name
  }
}

output "alarm_topic_arn" {
  description = "ARN of the topic that alarms go to."
  value       = module.observability.topic_arn
}

output "key_arn" {
  description = "ARN of the key that encrypts everything."
  value       = module.storage.key_arn
}

output "new_images_rule" {
  description = "Name of the rule by which new images start executions; it may be disabled."
  value       = module.orchestration.new_images_rule
}

output "dashboard_name" {
  description = "Name of the dashboard in CloudWatch."
  value       = module.observability.dashboard_name
}

output "release" {
  description = "Release that is deployed."
  value       = local.manifest.release
}

output "config_uri" {
  description = "URI of this environment's config.yaml, for jobs and services."
  value       = local.uploaded_config.uri
}

output "default_scale" {
  description = "Scale of a run without one in its input."
  value       = local.config.processing.upscale_factor
}

output "cluster_lifecycle" {
  description = "Whether there is always a cluster (persistent) or one for each execution (transient)."
  value       = var.cluster_lifecycle
}

output "cluster_id" {
  description = "Id of the persistent EMR cluster; null with transient ones."
  value       = module.processing.cluster_id
}

output "log_uri" {
  description = "Where EMR writes its logs."
  value       = module.processing.log_uri
}

output "steps" {
  description = "Arguments of command-runner.jar for each job, up to where --run-id and the like follow."
  value       = module.processing.steps
}

output "state_machine_arn" {
  description = "ARN of the state machine."
  value       = module.orchestration.state_machine_arn
}

output "log_groups" {
  description = "Log groups of CloudWatch: of steps, and of each service."
  value = {
    steps     = module.processing.log_group
    ingestion = module.ingestion.log_group
    notifier  = module.notifier.log_group
  }
}

output "pipeline_log_group" {
  description = "Log group of executions of the state machine."
  value       = module.orchestration.log_group
}

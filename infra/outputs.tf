output "name" {
  description = "What every name begins with."
  value       = local.name
}

output "region" {
  description = "Region that all lies in."
  value       = var.region
}

output "buckets" {
  description = "Names of the buckets: raw, work, results, artifacts, logs."
  value       = module.storage.buckets
}

output "cluster_arn" {
  description = "ARN of the Kafka cluster, for GetBootstrapBrokers."
  value       = module.streaming.cluster_arn
}

output "queues" {
  description = "URLs of the queues that the notifier reads, and of their dead-letter queues."
  value = {
    evaluations              = module.storage.evaluations.url
    evaluations_dead_letters = module.storage.evaluations_dead_letters.url
    run_status               = module.orchestration.run_status.url
    run_status_dead_letters  = module.orchestration.run_status_dead_letters.url
  }
}

output "configuration" {
  description = "What overrides config.yaml, as environment variables; the brokers' addresses are asked for with cluster_arn."
  value = {
    SUPERRES_DATASET__HIGH_RESOLUTION_DIR      = module.storage.dataset.high_resolution_dir
    SUPERRES_DATASET__LOW_RESOLUTION_DIR       = module.storage.dataset.low_resolution_dir
    SUPERRES_DATASET__PATCHES_DIR              = module.storage.dataset.patches_dir
    SUPERRES_DATASET__INFERENCE_RESULT_DIR     = module.storage.dataset.inference_result_dir
    SUPERRES_DATASET__RECONSTRUCTED_IMAGES_DIR = module.storage.dataset.reconstructed_images_dir
    SUPERRES_INGESTION__UPLOADS_DIR            = module.storage.dataset.uploads_dir
    SUPERRES_KAFKA__SECURITY                   = "iam"
    SUPERRES_KAFKA__REGION                     = var.region
    SUPERRES_NOTIFIER__EVENTS_QUEUE_URL        = module.storage.evaluations.url
    SUPERRES_NOTIFIER__RUNS_QUEUE_URL          = module.orchestration.run_status.url
  }
}

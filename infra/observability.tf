module "observability" {
  source = "./modules/observability"

  name              = local.name
  key_arn           = module.storage.key_arn
  email             = var.alarms.email
  budget_dollars    = var.alarms.budget_dollars
  lag_messages      = var.alarms.lag_messages
  state_machine_arn = module.orchestration.state_machine_arn
  cluster           = var.cluster_lifecycle == "persistent" ? { id = module.processing.cluster_id } : null
  gpus              = var.processing.device == "cuda"
  buckets           = module.storage.buckets
  log_groups        = { steps = module.processing.log_group, ingestion = module.ingestion.log_group, notifier = module.notifier.log_group }
  scheduled         = var.schedule.enabled
  load_balancer     = one(module.load_balancer[*].arn_suffix)
  target_groups     = { for name, target in merge(module.load_balancer[*].targets...) : name => target.group_arn_suffix }
  database          = module.notifier.database_identifier

  # Not new-images: its messages wait for as long as an execution runs.
  queues = {
    evaluations = module.storage.evaluations.name
    run-status  = module.orchestration.run_status.name
  }
  dead_letter_queues = {
    evaluations = module.storage.evaluations_dead_letters.name
    run-status  = module.orchestration.run_status_dead_letters.name
    new-images  = module.orchestration.new_images_dead_letters.name
  }

  # What config.yaml calls them; a topic of another name would need rights as well (modules/streaming).
  kafka = one([for streaming in module.streaming : {
    cluster_name = streaming.cluster_name
    topic        = "images-topic"
    group        = "superres-consumer"
  }])
}

module "ingestion" {
  source = "./modules/ingestion"

  name                 = local.name
  vpc_id               = module.network.vpc_id
  subnet_ids           = module.network.instance_subnet_ids
  target               = one(module.load_balancer[*].targets["upload"])
  buckets              = module.storage.buckets
  files                = local.service_files["ingestion"]
  key_arn              = module.storage.key_arn
  log_days             = var.pipeline.log_days
  instance_type        = var.ingestion.instance_type
  instances            = var.ingestion.instances
  secret_recovery_days = var.secret_recovery_days

  kafka = one([for streaming in module.streaming : {
    cluster_arn       = streaming.cluster_arn
    policy            = streaming.client_policy
    security_group_id = streaming.clients_security_group_id
  }])

  starts = !var.starts.on_new_images ? null : {
    queue_url         = module.orchestration.new_images.url
    state_machine_arn = module.orchestration.state_machine_arn
    policy            = module.orchestration.starts_policy
  }
}

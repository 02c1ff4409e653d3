module "ingestion" {
  source = "./modules/ingestion"

  name                 = local.name
  vpc_id               = module.network.vpc_id
  subnet_ids           = module.network.private_subnet_ids
  target               = module.load_balancer.targets["upload"]
  buckets              = module.storage.buckets
  files                = local.service_files["ingestion"]
  key_arn              = module.storage.key_arn
  instance_type        = var.ingestion.instance_type
  instances            = var.ingestion.instances
  secret_recovery_days = var.secret_recovery_days

  kafka = {
    cluster_arn       = module.streaming.cluster_arn
    policy            = module.streaming.client_policy
    security_group_id = module.streaming.clients_security_group_id
  }
}

module "streaming" {
  source = "./modules/streaming"
  count  = var.kafka.enabled ? 1 : 0

  name             = local.name
  vpc_id           = module.network.vpc_id
  subnet_ids       = module.network.private_subnet_ids
  key_arn          = module.storage.key_arn
  kafka_version    = var.kafka.version
  instance_type    = var.kafka.instance_type
  brokers_per_zone = var.kafka.brokers_per_zone
  volume_gigabytes = var.kafka.volume_gigabytes
  partitions       = var.kafka.partitions
  monitoring       = var.kafka.monitoring
  log_days         = var.kafka.log_days
}

module "notifier" {
  source = "./modules/notifier"

  name                 = local.name
  vpc_id               = module.network.vpc_id
  subnet_ids           = module.network.instance_subnet_ids
  target               = one(module.load_balancer[*].targets["page"])
  public_url           = local.page_url
  uploads_url          = var.load_balancer.enabled ? "/uploads" : local.uploads_url
  public_gallery       = var.notifier.public_gallery
  buckets              = module.storage.buckets
  files                = local.service_files["notifier"]
  key_arn              = module.storage.key_arn
  log_days             = var.pipeline.log_days
  instance_type        = var.notifier.instance_type
  instances            = var.notifier.instances
  secret_recovery_days = var.secret_recovery_days
  deletion_protection  = var.deletion_protection

  queues = {
    evaluations = module.storage.evaluations
    run_status  = module.orchestration.run_status
  }

  database = var.notifier.database == "sqlite" ? null : {
    instance_class = var.notifier.database_class
    multi_az       = var.notifier.database_multi_az
  }
}

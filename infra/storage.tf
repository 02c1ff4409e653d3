module "storage" {
  source = "./modules/storage"

  name              = local.name
  force_destroy     = var.force_destroy
  work_days         = var.storage.work_days
  noncurrent_days   = var.storage.noncurrent_days
  log_days          = var.storage.log_days
  access_logs       = var.storage.access_logs
  key_deletion_days = var.storage.key_deletion_days
}

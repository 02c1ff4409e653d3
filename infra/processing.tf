module "processing" {
  source = "./modules/processing"

  name              = local.name
  cluster_lifecycle = var.cluster_lifecycle
  release_label     = var.processing.release_label
  device            = var.processing.device
  primary           = var.processing.primary
  core              = var.processing.core
  gpu               = var.processing.gpu
  driver            = var.processing.driver
  vpc_id            = module.network.vpc_id
  vpc_cidr          = module.network.cidr
  subnet_ids        = module.network.instance_subnet_ids
  public_addresses  = var.public_addresses
  s3_prefix_list_id = module.network.s3_prefix_list_id
  key_arn           = module.storage.key_arn
  log_days          = var.pipeline.log_days
  bucket_arns       = module.storage.bucket_arns
  package           = local.cluster_files
}

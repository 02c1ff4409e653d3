module "orchestration" {
  source = "./modules/orchestration"

  name              = local.name
  key_arn           = module.storage.key_arn
  cluster_lifecycle = var.cluster_lifecycle
  cluster_id        = module.processing.cluster_id
  run_job_flow      = module.processing.run_job_flow
  role_arns         = module.processing.role_arns
  log_uri           = module.processing.log_uri
  steps             = module.processing.steps
  bucket_arns       = { for name in ["raw", "work"] : name => module.storage.bucket_arns[name] }
  default_scale     = local.config.processing.upscale_factor
  step_seconds      = var.pipeline.step_seconds
  schedule          = var.schedule
  starts            = var.starts
  tracing           = var.pipeline.tracing
  log_days          = var.pipeline.log_days
}

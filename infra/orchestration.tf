module "orchestration" {
  source = "./modules/orchestration"

  name    = local.name
  key_arn = module.storage.key_arn
}

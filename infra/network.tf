module "network" {
  source = "./modules/network"

  name                = local.name
  cidr                = var.cidr
  zone_count          = var.zone_count
  nat_gateway_count   = var.nat_gateway_count
  public_addresses    = var.public_addresses
  interface_endpoints = var.interface_endpoints
  flow_logs           = var.flow_logs ? { bucket_arn = module.storage.bucket_arns["logs"] } : null
}

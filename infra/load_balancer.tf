locals {
  # Without a certificate there is no name but the load balancer's own; without that, `make deploy` prints
  # the commands that forward these ports of the reader's machine.
  dns_name    = one(module.load_balancer[*].dns_name)
  page_url    = var.load_balancer.host == null ? "http://${coalesce(local.dns_name, "localhost:8080")}" : "https://${var.load_balancer.host}"
  uploads_url = var.load_balancer.enabled ? "${local.page_url}/uploads" : "http://localhost:8081/uploads"
}

module "load_balancer" {
  source = "./modules/load_balancer"
  count  = var.load_balancer.enabled ? 1 : 0

  name            = local.name
  vpc_id          = module.network.vpc_id
  network_cidr    = var.cidr
  subnet_ids      = var.load_balancer.public ? module.network.public_subnet_ids : module.network.private_subnet_ids
  public          = var.load_balancer.public
  certificate_arn = var.load_balancer.certificate_arn
  # One inside the network is for the network, if nothing else is said.
  allowed_cidrs       = var.load_balancer.public || length(var.load_balancer.allowed_cidrs) > 0 ? var.load_balancer.allowed_cidrs : [var.cidr]
  deletion_protection = var.deletion_protection
  access_logs         = var.storage.access_logs ? { bucket = module.storage.buckets["logs"] } : null

  targets = {
    page = { port = 8080 }
    # What is being sent may finish; the service itself waits ingestion.drain_seconds.
    upload = { port = 8081, paths = ["/uploads", "/uploads/*"], drain_seconds = 120 }
  }
  default_target = "page"
}

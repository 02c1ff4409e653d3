provider "aws" {
  region = var.region

  default_tags {
    tags = merge(var.tags, {
      Project     = var.project
      Environment = var.environment
      Stack       = local.name # both together: what the budget counts by
      ManagedBy   = "terraform"
    })
  }
}

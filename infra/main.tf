# The root puts the modules together, a file for each concern: storage.tf, network.tf,
# streaming.tf, orchestration.tf. Environments differ in environments/*.tfvars only.

locals {
  name = "${var.project}-${var.environment}"
}

# What every test of this folder begins with; Terraform reads it by its name.

name          = "superres-test-notifier"
vpc_id        = "vpc-1"
subnet_ids    = ["subnet-1", "subnet-2"]
target        = { group_arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/page/1", port = 8080, balancer_security_group_id = "sg-balancer" }
bucket        = "artifacts"
units         = ["notify"]
key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/data"
instance_type = "t3.small"
instances     = 2
log_group     = { name = "/superres-test/services/notifier", days = 7 }
files = {
  wheel      = { key = "releases/1/wheel", sha256 = "1111111111111111111111111111111111111111111111111111111111111111" }
  wheelhouse = { key = "wheelhouses/2", sha256 = "2222222222222222222222222222222222222222222222222222222222222222" }
  config     = { key = "releases/1/config", sha256 = "3333333333333333333333333333333333333333333333333333333333333333" }
}

# For production: survives the loss of a zone, and protects everything with images from being destroyed.
environment   = "prod"
region        = "eu-central-1"
force_destroy = false

zone_count = 3
# The failure of a zone does not cut others off from the internet.
nat_gateway_count = 3
# What is used all the time and need not pass a NAT gateway, which is billed by the gigabyte.
interface_endpoints = ["elasticmapreduce", "kms", "logs", "sqs", "sts"]
flow_logs           = true

kafka = {
  instance_type = "kafka.m7g.large"
}

# Inside the network. For the internet: public = true, with allowed_cidrs, certificate_arn and host.
load_balancer = {}

ingestion = {
  instance_type = "m7i.large"
  instances     = 3
}

notifier = {
  instance_type = "m7i.large"
  instances     = 2
  database      = "postgres"
}

deletion_protection = true

# Set email, the address for alarms: without it there are none.
alarms = {
  budget_dollars = 5000 # 3,000 without a run, and up to 15 an hour while one lasts
}

cluster_lifecycle = "persistent"

processing = {
  core = { instances = 3 }
  gpu  = { max_instances = 8 }
}

# New images start runs within minutes. The schedule finds what an event was lost for.
starts   = { on_new_images = true }
schedule = { expression = "rate(6 hours)" }

# To find out for little money whether an account and its region can run this: uploads and images in S3,
# CPUs alone, without Kafka, NAT gateways and load balancer (docs/operations.md has what it costs).
environment   = "smoke"
region        = "eu-central-1"
force_destroy = true

# Two zones, so that a cluster has a choice. An address costs a tenth of an interface endpoint.
zone_count        = 2
nat_gateway_count = 0
public_addresses  = true
flow_logs         = false

storage = {
  noncurrent_days   = 1
  log_days          = 7
  access_logs       = false
  key_deletion_days = 7
}

kafka         = { enabled = false }
load_balancer = { enabled = false }

# Enough for photographs of some megapixels.
ingestion = {
  instance_type = "t3.micro"
}

notifier = {
  instance_type = "t3.micro"
}

# Names of secrets can be reused at once, by the next deployment.
secret_recovery_days = 0

alarms = {
  budget_dollars = 50
}

cluster_lifecycle = "transient"

# The smallest that EMR offers: a primary and a core instance, on which inference runs too.
processing = {
  device  = "cpu"
  primary = { instance_types = ["m5.xlarge", "m6i.xlarge", "m7i.xlarge"] }
  core = {
    instance_types = ["m5.xlarge", "m6i.xlarge", "m7i.xlarge"]
    instances      = 1
    disk_gigabytes = 64
    executor       = { cores = 3, memory = "3g", overhead = "5g" }
  }
  gpu    = { max_instances = 0 }
  driver = { memory = "1g", overhead = "512m" }
}

# Started by hand: make submit, or make smoke. Each start pays for a cluster.
schedule = { enabled = false }
starts   = { on_new_images = false }
# Each of the four steps of ten images ends within minutes; one that hangs is not paid for longer than an hour.
pipeline = { step_seconds = 3600 }

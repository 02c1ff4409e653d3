# For trying things out: small, and destroyed without waiting.
environment   = "dev"
region        = "eu-central-1"
force_destroy = true

# Two zones are the minimum for Kafka; one NAT gateway is enough for few images.
zone_count        = 2
nat_gateway_count = 1
flow_logs         = false

storage = {
  noncurrent_days   = 1
  log_days          = 7
  access_logs       = false
  key_deletion_days = 7
}

kafka = {
  # The smallest without ZooKeeper. Both brokers cost about 350 $ a month (deploy/prices.yaml).
  instance_type    = "kafka.m7g.large"
  volume_gigabytes = 10
  partitions       = 4
  log_days         = 7
}

# One instance each; the gallery's SQLite is made anew from storage with its instance.
ingestion = {
  instance_type = "t3.medium"
}

notifier = {
  instance_type = "t3.small"
}

# Names of secrets can be reused at once, by the next deployment.
secret_recovery_days = 0

# The parts that are billed by the hour, and some runs (docs/operations.md).
alarms = {
  budget_dollars = 600
}

# Only EMR's endpoint is billed between executions; they start ten minutes later.
cluster_lifecycle = "transient"

processing = {
  core = { instances = 1 }
  gpu  = { max_instances = 1 }
}

# Started by hand: make submit. (Each start makes a cluster.)
schedule = { enabled = false }
starts   = { on_new_images = false }

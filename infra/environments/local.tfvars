# The local cloud: LocalStack, where there are no networks to protect and nothing is billed.
environment   = "local"
region        = "us-east-1"
force_destroy = true

# Two zones are the minimum for Kafka. Endpoints as in prod, so that all of the root is used.
zone_count          = 2
nat_gateway_count   = 1
interface_endpoints = ["elasticmapreduce", "kms", "logs", "sqs", "sts"]

storage = {
  key_deletion_days = 7
}

kafka = {
  partitions = 4
}

secret_recovery_days = 0

# Local-only: LocalStack's free part has no RDS (the tests of the notifier run on a PostgreSQL of
# their own), and knows no budgets.
notifier = {
  database = "sqlite"
}

alarms = {
  budget_dollars = null
}

# Spark is real here and shares one machine without a GPU.
processing = {
  device = "cpu"
  core   = { instances = 1, executor = { cores = 2, memory = "1536m", overhead = "1g" } }
  driver = { memory = "1g", overhead = "512m" }
}

# Nothing starts by the clock while it is being tested, and a step that hangs is noticed soon. New
# images start runs where the unit start-runs runs, which the tests decide.
schedule = { enabled = false }
pipeline = { step_seconds = 900 }

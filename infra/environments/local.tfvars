# The local cloud: LocalStack, where there are no networks to protect and nothing is billed.
environment   = "local"
region        = "us-east-1"
force_destroy = true

zone_count        = 2
nat_gateway_count = 0
flow_logs         = false

storage = {
  access_logs       = false
  key_deletion_days = 7
}

kafka = {
  partitions = 4
}

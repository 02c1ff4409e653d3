# To try things out: small, and gone at once when it is destroyed.
environment   = "dev"
region        = "eu-central-1"
force_destroy = true

# Two zones are the fewest that Kafka takes; one NAT gateway carries what few images there are.
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
  # A quarter of the price. Unproven without ZooKeeper: if MSK refuses it, leave the line out.
  instance_type    = "kafka.t3.small"
  volume_gigabytes = 10
  partitions       = 4
  log_days         = 7
}

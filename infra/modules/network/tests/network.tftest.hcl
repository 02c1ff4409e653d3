mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c", "eu-central-1d"] }
  }

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
}

variables {
  name = "superres-test"
}

run "by_default" {
  command = apply

  # A private and a public subnet in each zone.
  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { eu-central-1a = "10.20.0.0/20", eu-central-1b = "10.20.16.0/20", eu-central-1c = "10.20.32.0/20" }
    error_message = "Each of three zones has a private subnet of a sixteenth of the network."
  }

  assert {
    condition     = length(setintersection([for each in aws_subnet.private : each.cidr_block], [for each in aws_subnet.public : each.cidr_block])) == 0 && length(aws_subnet.public) == 3
    error_message = "Public subnets lie beside the private ones."
  }

  assert {
    condition     = alltrue([for each in merge(aws_subnet.private, { for zone, subnet in aws_subnet.public : "public ${zone}" => subnet }) : each.map_public_ip_on_launch != true])
    error_message = "No host gets a public address by itself."
  }

  assert {
    condition     = output.instance_subnet_ids == output.private_subnet_ids
    error_message = "Instances are in the private subnets."
  }

  assert {
    condition     = aws_vpc.this.tags["for-use-with-amazon-emr-managed-policies"] == "true" && alltrue([for each in aws_subnet.private : each.tags["for-use-with-amazon-emr-managed-policies"] == "true"])
    error_message = "EMR's service role reaches only what bears its tag."
  }

  # Nothing may come in from everywhere.
  assert {
    condition     = length(aws_default_security_group.this.ingress) == 0 && length(aws_default_security_group.this.egress) == 0
    error_message = "The default security group must allow nothing."
  }

  assert {
    condition = toset([for each in aws_vpc_security_group_ingress_rule.endpoints : each.cidr_ipv4]) == toset([for each in aws_subnet.private : each.cidr_block]) && alltrue([
      for each in aws_vpc_security_group_ingress_rule.endpoints : each.from_port == 443 && each.to_port == 443 && each.ip_protocol == "tcp"
    ])
    error_message = "Endpoints take HTTPS from private subnets only."
  }

  assert {
    condition     = toset([for each in aws_route_table_association.private : each.route_table_id]) == toset([for each in aws_route_table.private : each.id]) && alltrue([for each in aws_route.nat : each.gateway_id == null])
    error_message = "Private subnets have no route to the internet gateway."
  }

  # One way out for all zones.
  assert {
    condition     = length(aws_nat_gateway.this) == 1 && toset(keys(aws_route.nat)) == toset(keys(aws_subnet.private)) && alltrue([for each in aws_route.nat : each.nat_gateway_id == one(values(aws_nat_gateway.this)).id])
    error_message = "By default one NAT gateway serves every zone."
  }

  assert {
    condition     = aws_nat_gateway.this["eu-central-1a"].subnet_id == aws_subnet.public["eu-central-1a"].id
    error_message = "It stands in a public subnet."
  }

  # Services are reached within the network.
  assert {
    condition     = aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && length(setsubtract([for each in aws_route_table.private : each.id], aws_vpc_endpoint.s3.route_table_ids)) == 0
    error_message = "Every private subnet reaches S3 through the gateway endpoint."
  }

  assert {
    condition = alltrue([
      for service, each in aws_vpc_endpoint.interface :
      each.service_name == "com.amazonaws.eu-central-1.${service}" && each.private_dns_enabled && toset(each.security_group_ids) == toset([aws_security_group.endpoints.id])
    ]) && toset(keys(aws_vpc_endpoint.interface)) == toset(["elasticmapreduce", "kms", "logs", "sqs", "sts"])
    error_message = "Interface endpoints answer to the services' own names, behind their security group."
  }
}

run "or_one_in_each_zone" {
  command = apply

  variables {
    nat_gateway_count = 3
  }

  assert {
    condition     = alltrue([for zone, each in aws_route.nat : each.nat_gateway_id == aws_nat_gateway.this[zone].id]) && length(aws_nat_gateway.this) == 3
    error_message = "Each zone goes out through its own gateway."
  }
}

run "or_none" {
  command = apply

  variables {
    zone_count        = 2
    nat_gateway_count = 0
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 0 && length(aws_eip.nat) == 0 && length(aws_route.nat) == 0 && length(aws_subnet.private) == 2
    error_message = "Without NAT gateways there is no address and no route either."
  }
}

run "connections_are_recorded_where_asked" {
  command = apply

  variables {
    flow_logs = { bucket_arn = "arn:aws:s3:::logs" }
  }

  assert {
    condition     = aws_flow_log.this[0].traffic_type == "ALL" && aws_flow_log.this[0].log_destination == "arn:aws:s3:::logs/network/"
    error_message = "All connections are recorded, below network/."
  }
}

run "four_zones_are_refused" {
  command = plan

  variables {
    zone_count        = 4
    nat_gateway_count = 1
  }

  expect_failures = [var.zone_count]
}

run "two_gateways_for_three_zones_are_refused" {
  command = plan

  variables {
    nat_gateway_count = 2
  }

  expect_failures = [var.nat_gateway_count]
}

run "public_addresses_are_refused" {
  command = plan

  variables {
    cidr = "8.8.0.0/16"
  }

  expect_failures = [var.cidr]
}

run "public_addresses_take_the_place_of_nat_gateways" {
  command = apply

  variables {
    zone_count          = 2
    nat_gateway_count   = 0
    interface_endpoints = []
    public_addresses    = true
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 0 && length(aws_eip.nat) == 0 && length(aws_vpc_endpoint.interface) == 0
    error_message = "Nothing of the network is billed by the hour."
  }

  assert {
    condition     = output.instance_subnet_ids == [for zone in output.zones : aws_subnet.public[zone].id] && alltrue([for each in aws_subnet.public : each.map_public_ip_on_launch])
    error_message = "Instances are in the public subnets and get an address there."
  }

  assert {
    condition     = alltrue([for each in aws_subnet.public : each.tags["for-use-with-amazon-emr-managed-policies"] == "true"])
    error_message = "EMR's service role reaches only what bears its tag."
  }

  assert {
    condition     = contains(aws_vpc_endpoint.s3.route_table_ids, aws_route_table.public.id)
    error_message = "Public subnets reach S3 through the gateway endpoint too."
  }
}

run "public_addresses_beside_a_nat_gateway_are_refused" {
  command = plan

  variables {
    nat_gateway_count   = 1
    interface_endpoints = []
    public_addresses    = true
  }

  expect_failures = [var.public_addresses]
}

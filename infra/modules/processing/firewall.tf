# Who reaches whom. EMR looks for rules of its own in these three groups and adds what it misses;
# these are the same rules, so that EMR adds none of its own.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-man-sec-groups.html

resource "aws_security_group" "primary" {
  name        = "${var.name}-emr-primary"
  description = "Primary instance of EMR"
  vpc_id      = var.vpc_id
  # The groups name each other, and EMR's own rules may too: with them none could be deleted.
  revoke_rules_on_delete = true

  tags = merge(local.emr_tag, { Name = "${var.name}-emr-primary" })
}

resource "aws_security_group" "workers" {
  name                   = "${var.name}-emr-workers"
  description            = "Core and GPU instances of EMR"
  vpc_id                 = var.vpc_id
  revoke_rules_on_delete = true

  tags = merge(local.emr_tag, { Name = "${var.name}-emr-workers" })
}

# EMR's end of the connection to instances without a public address; a cluster in a public subnet takes
# no such group.
resource "aws_security_group" "service" {
  count = var.public_addresses ? 0 : 1

  name                   = "${var.name}-emr-service"
  description            = "EMR, on its way to the instances"
  vpc_id                 = var.vpc_id
  revoke_rules_on_delete = true

  tags = merge(local.emr_tag, { Name = "${var.name}-emr-service" })
}

locals {
  nodes = {
    primary = aws_security_group.primary.id
    workers = aws_security_group.workers.id
  }

  service_group = one(aws_security_group.service[*].id)
  groups        = merge(local.nodes, { service = local.service_group })

  # How EMR 7 reaches the instances of a private cluster; EMR Spark 8 has an endpoint (endpoint.tf).
  emr_7_rules = local.has_endpoint || var.public_addresses ? {} : merge(
    { for node in keys(local.nodes) : "EMR to ${node}" => { from = "service", to = node, port = 8443 } },
    { "Primary instance to EMR" = { from = "primary", to = "service", port = 9443 } },
  )

  # From whom to whom, at which port of TCP. Each kind of instance reaches each at all of them: YARN,
  # Spark and HDFS choose ports as they like.
  between = merge(
    { for pair in setproduct(keys(local.nodes), keys(local.nodes)) : "Everything, ${pair[0]} to ${pair[1]}" => { from = pair[0], to = pair[1], port = null } },
    local.emr_7_rules,
  )
}

resource "aws_vpc_security_group_ingress_rule" "between" {
  for_each = local.between

  security_group_id            = local.groups[each.value.to]
  description                  = each.key
  referenced_security_group_id = local.groups[each.value.from]
  ip_protocol                  = each.value.port == null ? "-1" : "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port

  tags = local.emr_tag
}

resource "aws_vpc_security_group_egress_rule" "between" {
  for_each = local.between

  security_group_id            = local.groups[each.value.from]
  description                  = each.key
  referenced_security_group_id = local.groups[each.value.to]
  ip_protocol                  = each.value.port == null ? "-1" : "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port

  tags = local.emr_tag
}

# Services of AWS, through endpoints, a NAT gateway or the internet gateway.
resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = local.nodes

  security_group_id = each.value
  description       = "HTTPS to services of AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443

  tags = local.emr_tag
}

# Packages of EMR and Amazon Linux, which are signed, lie in S3 and are fetched by either protocol.
resource "aws_vpc_security_group_egress_rule" "packages" {
  for_each = local.nodes

  security_group_id = each.value
  description       = "Packages in S3"
  prefix_list_id    = var.s3_prefix_list_id
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80

  tags = local.emr_tag
}

# How the instances of EMR Spark 8 in private subnets reach EMR: through an interface endpoint in their network, at port
# 443. EMR uses the one that it finds and otherwise creates one. Terraform would not know that one:
# it would be billed between runs, and its network interfaces would keep the security group, the
# subnets and the network from being destroyed. So this one exists before any cluster.
#
# In public subnets they use the internet gateway, and EMR adds the rule by which it reaches the primary
# instance to that one's security group by itself: port 8443 from addresses of AWS alone.
#
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-clusters-in-a-vpc.html (kinds of subnets)
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-man-sec-groups.html (rules, by release)
# https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-spark-800-release.html (the service's name)

locals {
  has_endpoint     = startswith(var.release_label, "emr-spark-") && !var.public_addresses
  endpoint_service = "aws.api.${local.region}.emr-service-cell01"
}

resource "aws_vpc_endpoint" "emr" {
  count = local.has_endpoint ? 1 : 0

  vpc_id              = var.vpc_id
  service_name        = local.endpoint_service
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = var.subnet_ids
  security_group_ids  = [local.service_group]

  # The name that AmazonEMRServicePolicy_v2 (version 6) knows.
  tags = merge(local.emr_tag, { Name = "emr-service-vpce" })
}

resource "aws_vpc_security_group_ingress_rule" "endpoint" {
  count = local.has_endpoint ? 1 : 0

  security_group_id = local.service_group
  description       = "HTTPS from the network to EMR"
  # AWS asks for the network's addresses here, not for groups.
  cidr_ipv4   = var.vpc_cidr
  ip_protocol = "tcp"
  from_port   = 443
  to_port     = 443

  tags = local.emr_tag
}

resource "aws_vpc_security_group_egress_rule" "endpoint" {
  for_each = local.has_endpoint ? local.nodes : {}

  security_group_id            = each.value
  description                  = "HTTPS to EMR"
  referenced_security_group_id = local.service_group
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443

  tags = local.emr_tag
}

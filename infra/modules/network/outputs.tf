output "vpc_id" {
  description = "Id of the network."
  value       = aws_vpc.this.id
}

output "cidr" {
  description = "Addresses of the network."
  value       = aws_vpc.this.cidr_block
}

output "zones" {
  description = "Names of the availability zones, in order."
  value       = local.zones
}

output "private_subnet_ids" {
  description = "Ids of the private subnets, one for each zone, in their order; there once they have their way out."
  value       = [for zone in local.zones : aws_subnet.private[zone].id]

  depends_on = [aws_route.nat, aws_route_table_association.private, aws_vpc_endpoint.s3]
}

output "public_subnet_ids" {
  description = "Ids of the public subnets, one for each zone, in their order."
  value       = [for zone in local.zones : aws_subnet.public[zone].id]

  depends_on = [aws_route.internet, aws_route_table_association.public]
}

output "instance_subnet_ids" {
  description = "Ids of the subnets for instances, one for each zone, in their order: the public ones with public_addresses, else the private ones."
  value       = [for zone in local.zones : var.public_addresses ? aws_subnet.public[zone].id : aws_subnet.private[zone].id]

  depends_on = [
    aws_route.internet,
    aws_route.nat,
    aws_route_table_association.private,
    aws_route_table_association.public,
    aws_vpc_endpoint.s3,
  ]
}

output "s3_prefix_list_id" {
  description = "Id of the list of S3's addresses, for rules of security groups."
  value       = aws_vpc_endpoint.s3.prefix_list_id
}

output "endpoints_security_group_id" {
  description = "Id of the security group of the interface endpoints."
  value       = aws_security_group.endpoints.id
}

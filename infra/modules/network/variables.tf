variable "name" {
  description = "What every name begins with, such as superres-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "cidr" {
  description = "Addresses of the network, private ones. Each subnet has a sixteenth: of a /16, 4,091 hosts."
  type        = string
  default     = "10.20.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr)) && can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.)", var.cidr))
    error_message = "cidr must be a private IPv4 network, such as 10.20.0.0/16."
  }

  validation {
    condition     = can(regex("/(1[6-9]|2[0-2])$", var.cidr))
    error_message = "cidr must have a prefix of 16 (the largest that a VPC may have) to 22 (59 hosts in a subnet)."
  }
}

variable "zone_count" {
  description = "Availability zones to spread over. Kafka wants 3 to survive the loss of one without a pause."
  type        = number
  default     = 3

  validation {
    condition     = contains([2, 3], var.zone_count)
    error_message = "zone_count must be 2 or 3."
  }
}

variable "nat_gateway_count" {
  description = "NAT gateways: 1 for all zones, one for each zone, or 0, with which nothing can be fetched from the internet and interface_endpoints must name every service that is used."
  type        = number
  default     = 1

  validation {
    condition     = contains([0, 1, var.zone_count], var.nat_gateway_count)
    error_message = "nat_gateway_count must be 0, 1 or zone_count."
  }
}

variable "public_addresses" {
  description = "Whether instances have public addresses and reach the internet by themselves, instead of NAT gateways and interface endpoints. Nothing can reach them: no security group admits anything from outside."
  type        = bool
  default     = false

  validation {
    condition     = !var.public_addresses || (var.nat_gateway_count == 0 && length(var.interface_endpoints) == 0)
    error_message = "public_addresses: instances with public addresses need neither NAT gateways nor interface endpoints; set nat_gateway_count = 0 and interface_endpoints = []."
  }
}

variable "interface_endpoints" {
  description = "Services of AWS that are reached without passing a NAT gateway. Each is billed by the hour in every zone; none is needed where there is a NAT gateway. Without one: elasticmapreduce, sts, logs, monitoring, kms, sqs, states, kafka, secretsmanager, ssm, ssmmessages, ec2messages."
  type        = set(string)
  default     = ["elasticmapreduce", "kms", "logs", "sqs", "sts"]

  validation {
    condition     = alltrue([for service in var.interface_endpoints : can(regex("^[a-z0-9.-]+$", service)) && service != "s3"])
    error_message = "interface_endpoints are names of services such as sqs; s3 has a gateway endpoint, which is free."
  }
}

variable "flow_logs" {
  description = "ARN of the bucket that records of all connections go to, below network/; null for none. The bucket's policy must let delivery.logs.amazonaws.com write there."
  type        = object({ bucket_arn = string })
  default     = null

  validation {
    condition     = var.flow_logs == null ? true : can(regex("^arn:[^:]+:s3:::[^/]+$", var.flow_logs.bucket_arn))
    error_message = "flow_logs.bucket_arn must be the ARN of a bucket, without a prefix."
  }
}

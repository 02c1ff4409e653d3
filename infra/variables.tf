variable "project" {
  description = "What every name begins with; two projects of one account differ in it."
  type        = string
  default     = "superres"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,15}$", var.project))
    error_message = "project must be 2 to 16 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "environment" {
  description = "What this is for: dev, prod, local or another short word. It stands in every name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,7}$", var.environment))
    error_message = "environment must be 2 to 8 lower-case letters and digits, and begin with a letter."
  }
}

variable "region" {
  description = "Region of AWS, such as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be one of AWS, such as eu-central-1."
  }
}

variable "tags" {
  description = "Tags that everything bears beside Project, Environment and ManagedBy."
  type        = map(string)
  default     = {}
}

variable "force_destroy" {
  description = "Whether destroying deletes what the buckets hold. False keeps a mistake from costing images."
  type        = bool
  default     = false
}

# ---- network

variable "cidr" {
  description = "Addresses of the network, private ones."
  type        = string
  default     = "10.20.0.0/16"
}

variable "zone_count" {
  description = "Availability zones to spread over, 2 or 3."
  type        = number
  default     = 3
}

variable "nat_gateway_count" {
  description = "NAT gateways: 1 for all zones, one for each zone, or 0 (nothing can be fetched from the internet)."
  type        = number
  default     = 1
}

variable "interface_endpoints" {
  description = "Services of AWS that are reached without passing a NAT gateway, each billed by the hour in every zone."
  type        = set(string)
  default     = []
}

variable "flow_logs" {
  description = "Whether all connections in the network are recorded in the logs bucket."
  type        = bool
  default     = true
}

# ---- storage

variable "storage" {
  description = "Days until things go: tables of runs, replaced images and records, logs; and whether S3 logs requests."
  type = object({
    work_days         = optional(number, 3)
    noncurrent_days   = optional(number, 30)
    log_days          = optional(number, 90)
    access_logs       = optional(bool, true)
    key_deletion_days = optional(number, 30)
  })
  default = {}
}

# ---- streaming

variable "kafka" {
  description = "Version and size of the Kafka cluster, as modules/streaming describes them."
  type = object({
    version          = optional(string, "3.9.x.kraft")
    instance_type    = optional(string, "kafka.m7g.large")
    brokers_per_zone = optional(number, 1)
    volume_gigabytes = optional(number, 100)
    partitions       = optional(number, 24)
    monitoring       = optional(string, "DEFAULT")
    log_days         = optional(number, 30)
  })
  default = {}
}

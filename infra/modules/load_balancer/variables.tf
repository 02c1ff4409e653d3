variable "name" {
  description = "What every name begins with, such as superres-dev."
  type        = string

  validation {
    # A target group's name has 32 characters at most.
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "vpc_id" {
  description = "Id of the network."
  type        = string
}

variable "network_cidr" {
  description = "Addresses of the network, where the targets are."
  type        = string
}

variable "subnet_ids" {
  description = "Ids of subnets in two or more zones: public ones for a public load balancer, else private ones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= 2
    error_message = "subnet_ids must have at least two subnets, which a load balancer needs."
  }
}

variable "public" {
  description = "Whether it can be reached from the internet, which needs allowed_cidrs and a certificate."
  type        = bool
  default     = false

  validation {
    condition     = !var.public || var.certificate_arn != null
    error_message = "public needs certificate_arn: tokens and photographs must not cross the internet unencrypted."
  }
}

variable "allowed_cidrs" {
  description = "Who may connect. 0.0.0.0/0 is everyone, and must be said."
  type        = list(string)

  validation {
    condition     = length(var.allowed_cidrs) > 0 && alltrue([for cidr in var.allowed_cidrs : can(cidrnetmask(cidr))])
    error_message = "allowed_cidrs must be one or more IPv4 networks, such as 203.0.113.0/24; otherwise nothing could reach the load balancer."
  }
}

variable "certificate_arn" {
  description = "ARN of a certificate of ACM for the name that people use; null for plain http, inside the network only."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null ? true : can(regex("^arn:[^:]+:(acm|iam):", var.certificate_arn))
    error_message = "certificate_arn must be the ARN of a certificate."
  }
}

variable "targets" {
  description = "Target groups, by a short name: the port of their instances, the paths that lead there, and how long one that leaves may finish."
  type = map(object({
    port          = number
    paths         = optional(list(string), [])
    drain_seconds = optional(number, 30)
  }))

  validation {
    condition     = alltrue([for name in keys(var.targets) : can(regex("^[a-z]{1,6}$", name))])
    error_message = "targets: each name must be 1 to 6 lower-case letters."
  }
}

variable "default_target" {
  description = "The target group that all other paths lead to."
  type        = string

  validation {
    condition     = contains(keys(var.targets), var.default_target)
    error_message = "default_target must be one of targets."
  }
}

variable "deletion_protection" {
  description = "Whether it is protected from being destroyed until this is set to false."
  type        = bool
  default     = false
}

variable "access_logs" {
  description = "Name of the bucket that records of all requests go to, below balancer/; null for none. The bucket's policy must let Elastic Load Balancing write there."
  type        = object({ bucket = string })
  default     = null
}

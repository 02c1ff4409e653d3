variable "name" {
  description = "What every name begins with, such as superres-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "vpc_id" {
  description = "Id of the network."
  type        = string
}

variable "subnet_ids" {
  description = "Ids of the subnets."
  type        = list(string)
}

variable "target" {
  description = "Target group of the gallery, its port, and the security group of the load balancer; null without a load balancer."
  type = object({
    group_arn                  = string
    port                       = number
    balancer_security_group_id = string
  })
  default = null
}

variable "public_url" {
  description = "Address of the gallery."
  type        = string

  validation {
    condition     = can(regex("^https?://[^/]+$", var.public_url))
    error_message = "public_url must be http://host or https://host."
  }
}

variable "uploads_url" {
  description = "Where the gallery links to for uploads: an address, or a path on its own."
  type        = string
  default     = "/uploads"
}

variable "public_gallery" {
  description = "Whether the gallery can be viewed without a token."
  type        = bool
  default     = false
}

variable "buckets" {
  description = "Names of the buckets: raw, results, artifacts."
  type        = map(string)

  validation {
    condition     = alltrue([for name in ["raw", "results", "artifacts"] : contains(keys(var.buckets), name)])
    error_message = "buckets must name raw, results and artifacts."
  }
}

variable "files" {
  description = "Parts of the release, wheel, wheelhouse and config: their keys in the artifacts bucket and their SHA-256."
  type        = map(object({ key = string, sha256 = string }))
}

variable "queues" {
  description = "The queues that are read, evaluations and run_status: their names and URLs."
  type        = map(object({ name = string, url = string }))

  validation {
    condition     = toset(keys(var.queues)) == toset(["evaluations", "run_status"])
    error_message = "queues must be evaluations and run_status."
  }
}

variable "key_arn" {
  description = "ARN of the KMS key of buckets, queues, secrets and the database."
  type        = string
}

variable "instance_type" {
  description = "Type of the instances."
  type        = string
}

variable "instances" {
  description = "Number of instances; more than one need PostgreSQL."
  type        = number

  validation {
    condition     = var.instances == 1 || var.database != null
    error_message = "instances: several notifiers need one database; give database, or one instance."
  }
}

variable "database" {
  description = "PostgreSQL on RDS; null for a SQLite on the instance's disk, which is made anew from storage with the instance, but for subscriptions."
  type = object({
    version        = optional(number, 17)
    instance_class = optional(string, "db.t4g.small")
    multi_az       = optional(bool, true)
    backup_days    = optional(number, 14)
  })
  default = null

  validation {
    condition     = var.database == null ? true : var.database.backup_days >= 1 && var.database.backup_days <= 35
    error_message = "database.backup_days must lie between 1 and 35."
  }
}

variable "deletion_protection" {
  description = "Whether the database is protected from being destroyed until this is set to false."
  type        = bool
  default     = false
}

variable "secret_recovery_days" {
  description = "Days for which a destroyed secret can be restored, 7 to 30; 0: deleted immediately."
  type        = number
  default     = 30

  validation {
    condition     = var.secret_recovery_days == 0 || (var.secret_recovery_days >= 7 && var.secret_recovery_days <= 30)
    error_message = "secret_recovery_days must be 0, or lie between 7 and 30."
  }
}

variable "log_days" {
  description = "Days until the journals of the service are deleted from CloudWatch."
  type        = number
  default     = 30
}

variable "name" {
  description = "Name of the group and of all its parts, such as superres-dev-notifier."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,62}$", var.name))
    error_message = "name must be 2 to 63 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "vpc_id" {
  description = "Id of the network."
  type        = string
}

variable "subnet_ids" {
  description = "Ids of subnets to spread over."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "subnet_ids must name a subnet."
  }
}

variable "security_group_ids" {
  description = "Ids of security groups that the instances bear beside their own."
  type        = list(string)
  default     = []
}

variable "target" {
  description = "The target group that the instances are in, their port, and the security group of its load balancer; null without one: nothing outside reaches the instances then, but through a session of Session Manager."
  type = object({
    group_arn                  = string
    port                       = number
    balancer_security_group_id = string
  })
  default = null
}

variable "bucket" {
  description = "Name of the bucket with the release."
  type        = string
}

variable "files" {
  description = "Parts of the release, wheel, wheelhouse and config: their keys in the bucket and their SHA-256."
  type        = map(object({ key = string, sha256 = string }))

  validation {
    condition     = toset(keys(var.files)) == toset(["wheel", "wheelhouse", "config"])
    error_message = "files must be wheel, wheelhouse and config."
  }

  validation {
    condition     = alltrue([for file in var.files : can(regex("^[0-9a-f]{64}$", file.sha256))])
    error_message = "files: each sha256 must be 64 hex digits."
  }
}

variable "units" {
  description = "What runs on an instance: consume, uploads, start-runs, notify."
  type        = list(string)

  validation {
    condition     = length(var.units) > 0 && alltrue([for unit in var.units : contains(["consume", "uploads", "start-runs", "notify"], unit)])
    error_message = "units must be among consume, uploads, start-runs and notify."
  }
}

variable "settings" {
  description = "Settings in addition to the configuration file, by environment variable. They must not contain secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^SUPERRES_[A-Z]+__[A-Z_]+$", name))])
    error_message = "settings: each name must be SUPERRES_{SECTION}__{KEY}."
  }
}

variable "secrets" {
  description = "What units find in their environment: the variable, and the secret (id as in GetSecretValue, with #KEY for a key of a JSON). fill: whether instances give it a first value."
  type = list(object({
    unit     = string
    variable = string
    id       = string
    arn      = string
    fill     = bool
  }))
  default = []
}

variable "policies" {
  description = "Policies of the service, as JSON, in addition to those for its release, secrets and sessions."
  type        = list(string)
}

variable "key_arn" {
  description = "ARN of the KMS key of buckets, queues and secrets."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.key_arn))
    error_message = "key_arn must be the ARN of a KMS key."
  }
}

variable "decrypts_for" {
  description = "Services beside s3 and secretsmanager that decrypt with the key for it, such as sqs."
  type        = list(string)
  default     = []
}

variable "encrypts_for" {
  description = "Services beside secretsmanager that encrypt with the key for it, such as s3."
  type        = list(string)
  default     = []
}

variable "log_group" {
  description = "Name of the log group for the units' journals, and days until they are deleted."
  type        = object({ name = string, days = number })

  validation {
    condition     = can(regex("^/[a-zA-Z0-9._/-]+$", var.log_group.name))
    error_message = "log_group: name must be a path such as /superres-dev/services/notifier."
  }

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_group.days)
    error_message = "log_group: days must be a number that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365."
  }
}

variable "instance_type" {
  description = "Type of the instances, of x86."
  type        = string

  validation {
    # The wheelhouses are for x86; ARM types have a g before the dot (c7g, m7gd, t4g).
    condition     = can(regex("^[a-z]+[0-9]+[a-fh-z-]*\\.[a-z0-9]+$", var.instance_type))
    error_message = "instance_type must be one of x86, such as t3.medium or m7i.large."
  }
}

variable "instances" {
  description = "How many instances there are."
  type        = number

  validation {
    condition     = var.instances >= 1 && var.instances <= 100
    error_message = "instances must lie between 1 and 100."
  }
}

variable "replace_first" {
  description = "Whether an old instance stops before the new one starts, for a service that must not run twice."
  type        = bool
  default     = false
}

variable "volume_gigabytes" {
  description = "Disk of an instance."
  type        = number
  default     = 30

  validation {
    condition     = var.volume_gigabytes >= 16 && var.volume_gigabytes <= 1000
    error_message = "volume_gigabytes must lie between 16 and 1000."
  }
}

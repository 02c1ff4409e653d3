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
  description = "Target group of uploads, their port, and the security group of the load balancer; null without a load balancer."
  type = object({
    group_arn                  = string
    port                       = number
    balancer_security_group_id = string
  })
  default = null
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

variable "kafka" {
  description = "The cluster's ARN, what its clients may do (JSON), and the security group that they bear; null without Kafka: uploads are then stored by the instance that receives them."
  type        = object({ cluster_arn = string, policy = string, security_group_id = string })
  default     = null
}

variable "starts" {
  description = "The queue with events of new images, the state machine that they start, and what that takes (JSON), as modules/orchestration gives them; null: new images start nothing."
  type        = object({ queue_url = string, state_machine_arn = string, policy = string })
  default     = null
}

variable "key_arn" {
  description = "ARN of the KMS key of buckets and secrets."
  type        = string
}

variable "instance_type" {
  description = "Type of the instances. Memory limits the size of images: 200 megapixels need 4 GiB."
  type        = string
}

variable "instances" {
  description = "How many instances there are; more than Kafka has partitions are of no use."
  type        = number

  validation {
    condition     = var.kafka != null || var.instances == 1
    error_message = "instances must be 1 without Kafka, which shares the work."
  }
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

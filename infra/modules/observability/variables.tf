variable "name" {
  description = "What every name begins with, such as superres-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "key_arn" {
  description = "ARN of the KMS key that encrypts alarms. Its policy must let cloudwatch.amazonaws.com and budgets.amazonaws.com use it, or alarms vanish silently."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.key_arn))
    error_message = "key_arn must be the ARN of a KMS key."
  }
}

variable "email" {
  description = "Email address for alarms; null: none. More can subscribe to the topic."
  type        = string
  default     = null

  validation {
    condition     = var.email == null ? true : can(regex("^[^@\\s]+@[^@\\s]+$", var.email))
    error_message = "email must be an address such as someone@example.org."
  }
}

variable "queues" {
  description = "Names of queues whose messages must be read promptly, by a short name, among them evaluations."
  type        = map(string)

  validation {
    condition     = contains(keys(var.queues), "evaluations")
    error_message = "queues must contain evaluations."
  }
}

variable "dead_letter_queues" {
  description = "Names of the dead-letter queues, by a short name."
  type        = map(string)
}

variable "state_machine_arn" {
  description = "ARN of the state machine."
  type        = string
}

variable "scheduled" {
  description = "Whether a schedule starts a run at least once a day."
  type        = bool
}

variable "cluster" {
  description = "Id of the persistent EMR cluster; null with transient ones."
  type        = object({ id = string })
  default     = null
}

variable "gpus" {
  description = "Whether inference runs on GPUs, whose load bootstrap/send_logs.sh measures."
  type        = bool
}

variable "buckets" {
  description = "Names of the buckets, by a short name."
  type        = map(string)
}

variable "log_groups" {
  description = "Names of the log groups of steps and services, by a short name."
  type        = map(string)
}

variable "kafka" {
  description = "Name of the cluster, and the topic and consumer group whose lag is looked at; null without Kafka."
  type        = object({ cluster_name = string, topic = string, group = string })
  default     = null
}

variable "lag_messages" {
  description = "References that may wait for half an hour without an alarm."
  type        = number
  default     = 10000
}

variable "load_balancer" {
  description = "What CloudWatch calls the load balancer; null without one."
  type        = string
  default     = null
}

variable "target_groups" {
  description = "What CloudWatch calls its target groups, by a short name."
  type        = map(string)
  default     = {}
}

variable "database" {
  description = "What RDS calls the notifier's PostgreSQL; null where there is none."
  type        = string
  default     = null
}

variable "budget_dollars" {
  description = "US dollars a month above which the budget alarms; null: no budget."
  type        = number
  default     = null

  validation {
    condition     = var.budget_dollars == null ? true : var.budget_dollars > 0
    error_message = "budget_dollars must be more than 0, or null for no budget."
  }
}

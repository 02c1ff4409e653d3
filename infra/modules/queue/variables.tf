variable "name" {
  description = "Name of the queue; its dead-letter queue is called the same with -dead-letters."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]{1,67}$", var.name))
    error_message = "name must be 1 to 67 lower-case letters, digits and hyphens."
  }
}

variable "key_arn" {
  description = "ARN of the KMS key that encrypts messages. Its policy must let the senders use it, or their events vanish silently."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.key_arn))
    error_message = "key_arn must be the ARN of a KMS key."
  }
}

variable "senders" {
  description = "Who may send, by the sid of the statement that allows it: a service's principal, and the ARN of the bucket or rule it sends for."
  type = map(object({
    service    = string
    source_arn = string
  }))

  validation {
    condition     = alltrue([for sender in values(var.senders) : endswith(sender.service, ".amazonaws.com")])
    error_message = "senders: each service must be a principal such as s3.amazonaws.com."
  }

  validation {
    condition     = alltrue([for sid in keys(var.senders) : can(regex("^[A-Za-z0-9]+$", sid))])
    error_message = "senders: each key is a sid, of letters and digits only."
  }
}

variable "visibility_seconds" {
  description = "How long a message that was received stays hidden from others."
  type        = number
  default     = 60

  validation {
    condition     = var.visibility_seconds >= 10 && var.visibility_seconds <= 43200
    error_message = "visibility_seconds must lie between 10 and 43200."
  }
}

variable "retention_seconds" {
  description = "How long a message waits to be received before it is dropped."
  type        = number
  default     = 345600

  validation {
    condition     = var.retention_seconds >= 3600 && var.retention_seconds < 1209600
    error_message = "retention_seconds must be at least an hour, and less than the dead-letter queue's 14 days (1209600)."
  }
}

variable "receive_limit" {
  description = "How often a message is received before it goes to the dead-letter queue."
  type        = number
  default     = 5

  validation {
    condition     = var.receive_limit >= 2 && var.receive_limit <= 1000
    error_message = "receive_limit must lie between 2 and 1000: a receiver that restarts must not cost a message."
  }
}

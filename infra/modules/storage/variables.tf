variable "name" {
  description = "What every name begins with, such as superres-dev."
  type        = string

  validation {
    # The longest bucket is {name}-artifacts-{12 digits}-{region of up to 14}: 63 in all.
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "force_destroy" {
  description = "Whether destroying also deletes the contents of buckets. False protects images from mistakes."
  type        = bool
  default     = false
}

variable "key_deletion_days" {
  description = "How long the key can still be brought back after it was destroyed; without it nothing can be read."
  type        = number
  default     = 30

  validation {
    condition     = var.key_deletion_days >= 7 && var.key_deletion_days <= 30
    error_message = "key_deletion_days must lie between 7 and 30, which is what KMS allows."
  }
}

variable "work_days" {
  description = "Days until a run's tables of tiles are deleted."
  type        = number
  default     = 3

  validation {
    condition     = var.work_days >= 2
    error_message = "work_days must be at least 2: a run that began before midnight is still at work after it."
  }
}

variable "noncurrent_days" {
  description = "Days for which replaced or deleted images and records can be restored."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "noncurrent_days must be at least 1."
  }
}

variable "log_days" {
  description = "Days until logs in the logs bucket are deleted."
  type        = number
  default     = 90

  validation {
    condition     = var.log_days >= 1
    error_message = "log_days must be at least 1."
  }
}

variable "access_logs" {
  description = "Whether S3 writes down every request to raw, results and artifacts."
  type        = bool
  default     = true
}

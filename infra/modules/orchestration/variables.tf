variable "name" {
  description = "What every name begins with, such as superres-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "key_arn" {
  description = "ARN of the KMS key that encrypts messages and logs. Its policy must let events.amazonaws.com use it for rules whose names begin with name, and CloudWatch Logs for groups below /{name}/."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.key_arn))
    error_message = "key_arn must be the ARN of a KMS key."
  }
}

# ---- the cluster, as modules/processing gives it

variable "cluster_lifecycle" {
  description = "persistent: steps go to the cluster of cluster_id. transient: each execution creates a cluster and terminates it."
  type        = string
  default     = "persistent"

  validation {
    condition     = contains(["persistent", "transient"], var.cluster_lifecycle)
    error_message = "cluster_lifecycle must be persistent or transient."
  }
}

variable "cluster_id" {
  description = "Id of the persistent cluster; null with a transient one."
  type        = string
  default     = null
}

variable "run_job_flow" {
  description = "A transient cluster, in the words of RunJobFlow."
  type        = any
}

variable "role_arns" {
  description = "ARNs of the roles that a transient cluster is given: EMR's own and that of its instances."
  type        = object({ service = string, nodes = string })
}

variable "log_uri" {
  description = "Where clusters put their logs; messages of failures name it."
  type        = string
}

variable "steps" {
  description = "Arguments of command-runner.jar for each job, up to where --run-id follows."
  type        = map(list(string))

  validation {
    condition     = length(setsubtract(["mass_split", "batch_inference", "mass_reconstruct", "evaluate"], keys(var.steps))) == 0
    error_message = "steps must have mass_split, batch_inference, mass_reconstruct and evaluate."
  }

  # They stand in intrinsic functions of the Amazon States Language, within single quotes.
  validation {
    condition     = alltrue([for argument in flatten(values(var.steps)) : can(regex("^[^'\"\\\\{}]+$", argument))])
    error_message = "steps must not have an argument that is empty or has a quote, a backslash or a brace."
  }
}

# ---- a run

variable "bucket_arns" {
  description = "ARNs of the buckets of raw images, in which the state machine looks whether a day has any, and of tables, where it reads whether a run has any left to do."
  type = object({
    raw  = string
    work = string
  })
}

variable "default_scale" {
  description = "Scale of an execution whose input has none: processing.upscale_factor of config.yaml."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3, 4], var.default_scale)
    error_message = "default_scale must be 2, 3 or 4."
  }
}

variable "step_seconds" {
  description = "Seconds that a step may take, waiting for its turn included, until it is cancelled and the run fails."
  type        = number
  default     = 43200

  validation {
    condition     = var.step_seconds >= 60 && var.step_seconds <= 604800
    error_message = "step_seconds must lie between 60 and 604800 (a week)."
  }
}

variable "schedule" {
  description = "When yesterday's and today's images are run, in UTC, as rate(…) or cron(…) of EventBridge Scheduler; and whether that is on."
  type = object({
    expression = optional(string, "rate(6 hours)")
    enabled    = optional(bool, true)
  })
  default = {}

  validation {
    condition     = can(regex("^(rate|cron)\\(.+\\)$", var.schedule.expression))
    error_message = "schedule.expression must be rate(…) or cron(…), such as rate(6 hours) or cron(0 2 * * ? *)."
  }
}

variable "starts" {
  description = "Whether new images start executions, within minutes, besides the schedule."
  type        = object({ on_new_images = optional(bool, true) })
  default     = {}
}

variable "tracing" {
  description = "Whether executions are traced by X-Ray."
  type        = bool
  default     = true
}

variable "log_days" {
  description = "Days until the logs of executions are deleted."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_days)
    error_message = "log_days must be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365."
  }
}

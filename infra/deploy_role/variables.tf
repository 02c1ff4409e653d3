variable "project" {
  description = "What the names of everything that is deployed begin with, as in the other root."
  type        = string
  default     = "superres"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,15}$", var.project))
    error_message = "project must be 2 to 16 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "The only AWS region that the role may deploy to, such as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be one of AWS, such as eu-central-1."
  }
}

variable "trusted_arns" {
  description = "ARNs of the users and roles that may assume the role."
  type        = list(string)

  validation {
    condition     = length(var.trusted_arns) > 0 && alltrue([for arn in var.trusted_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:(user|role)/", arn))])
    error_message = "trusted_arns must be ARNs of users or roles, such as arn:aws:iam::123456789012:user/ann."
  }
}

variable "permissions_boundary_arn" {
  description = "ARN of a policy that limits the role whatever its own policies allow; null: none."
  type        = string
  default     = null
}

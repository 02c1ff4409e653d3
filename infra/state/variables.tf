variable "project" {
  description = "What the bucket's name begins with, as in the other root."
  type        = string
  default     = "superres"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,15}$", var.project))
    error_message = "project must be 2 to 16 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "AWS region of the bucket, such as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be one of AWS, such as eu-central-1."
  }
}

variable "force_destroy" {
  description = "Whether destroying also deletes the states in the bucket. Set it only once every environment is destroyed."
  type        = bool
  default     = false
}

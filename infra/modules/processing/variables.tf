variable "name" {
  description = "What every name begins with, such as superres-dev."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,24}$", var.name))
    error_message = "name must be 2 to 25 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "cluster_lifecycle" {
  description = "persistent: a cluster created here, whose GPU instances are removed when idle. transient: the state machine creates a cluster for each execution and terminates it."
  type        = string
  default     = "persistent"

  validation {
    condition     = contains(["persistent", "transient"], var.cluster_lifecycle)
    error_message = "cluster_lifecycle must be persistent or transient."
  }
}

variable "release_label" {
  description = "Release of EMR. The default has Spark 4.1, for which the jobs are written; emr-7.x has Spark 3.5 and is untested."
  type        = string
  default     = "emr-spark-8.1.0"

  validation {
    condition     = can(regex("^(emr-spark-8|emr-7)\\.[0-9]+\\.[0-9]+$", var.release_label))
    error_message = "release_label must be of the form emr-spark-8.1.0 or emr-7.14.0."
  }
}

# ---- where

variable "vpc_id" {
  description = "Id of the network."
  type        = string
}

variable "vpc_cidr" {
  description = "Addresses of the network, from which EMR's endpoint accepts connections."
  type        = string
}

variable "subnet_ids" {
  description = "Ids of subnets, one in each zone. EMR uses the one with enough capacity for its fleets."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "subnet_ids must name at least one subnet."
  }
}

variable "public_addresses" {
  description = "Whether subnet_ids are public ones, whose instances have public addresses: then EMR is reached without an endpoint."
  type        = bool
  default     = false
}

variable "s3_prefix_list_id" {
  description = "Id of S3's prefix list: EMR downloads packages from there, some over plain HTTP."
  type        = string
}

variable "key_arn" {
  description = "ARN of the KMS key that encrypts disks and objects."
  type        = string

  validation {
    condition     = can(regex("^arn:[^:]+:kms:", var.key_arn))
    error_message = "key_arn must be the ARN of a KMS key."
  }
}

variable "bucket_arns" {
  description = "ARNs of the buckets of modules/storage."
  type = object({
    raw       = string
    work      = string
    results   = string
    artifacts = string
    logs      = string
  })
}

variable "log_days" {
  description = "Days until the logs of steps are deleted from CloudWatch."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_days)
    error_message = "log_days must be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365."
  }
}

# ---- what runs

variable "package" {
  description = "Where the parts of the package lie in the artifacts bucket, as s3:// URIs, and the SHA-256 of what the nodes install."
  type = object({
    config      = string
    jobs        = map(string)
    bootstrap   = object({ send_logs = string, install_fsrcnn = string, enable_gpu_scheduling = string })
    wheel       = object({ uri = string, sha256 = string })
    wheelhouses = map(object({ uri = string, sha256 = string }))
  })

  validation {
    condition     = length(setsubtract(["mass_split", "batch_inference", "mass_reconstruct", "evaluate", "fused"], keys(var.package.jobs))) == 0
    error_message = "package.jobs must have mass_split, batch_inference, mass_reconstruct, evaluate and fused."
  }

  validation {
    condition     = length(setsubtract(var.device == "cuda" ? ["cpu", "gpu"] : ["cpu"], keys(var.package.wheelhouses))) == 0
    error_message = "package.wheelhouses must have cpu, and gpu with device cuda."
  }
}

variable "device" {
  description = "What inference runs on, as processing.device of config.yaml: cuda has a fleet of GPU instances and asks YARN for a GPU for each executor; cpu has more instances of the core types instead."
  type        = string
  default     = "cuda"

  validation {
    condition     = contains(["cuda", "cpu"], var.device)
    error_message = "device must be cuda or cpu."
  }
}

# ---- how large

variable "primary" {
  description = "The one instance that manages the cluster: types to choose from."
  type        = object({ instance_types = optional(list(string), ["m7i.xlarge", "m6i.xlarge"]) })
  default     = {}

  validation {
    condition     = length(var.primary.instance_types) >= 1 && length(var.primary.instance_types) <= 30
    error_message = "primary.instance_types must name 1 to 30 types."
  }
}

variable "core" {
  description = "The CPU instances: split, reconstruct and evaluate run there, with one executor on each, and every driver. Types to choose from, all of one size; how many; disk of each; the executor."
  type = object({
    instance_types = optional(list(string), ["m7i.2xlarge", "m6i.2xlarge"])
    instances      = optional(number, 2)
    disk_gigabytes = optional(number, 200)
    executor = optional(object({
      cores    = optional(number, 7)
      memory   = optional(string, "6g")
      overhead = optional(string, "12g")
    }), {})
  })
  default = {}

  validation {
    condition     = length(var.core.instance_types) >= 1 && length(var.core.instance_types) <= 30
    error_message = "core.instance_types must name 1 to 30 types."
  }

  validation {
    condition     = var.core.instances >= 1 && floor(var.core.instances) == var.core.instances
    error_message = "core.instances must be a whole number of at least 1."
  }
}

variable "gpu" {
  description = "The instances that inference runs on, and only while it does: types to choose from, all of one size; how many at most (with device cpu also 0: inference then runs on the core instances); the executor, of which each instance holds one. Its cores are the tasks that share a GPU."
  type = object({
    instance_types = optional(list(string), ["g6.2xlarge", "g5.2xlarge", "g4dn.2xlarge"])
    max_instances  = optional(number, 4)
    executor = optional(object({
      cores    = optional(number, 4)
      memory   = optional(string, "6g")
      overhead = optional(string, "16g")
    }), {})
  })
  default = {}

  # EMR has their drivers, and wheels are for x86: neither g4ad (AMD) nor g5g (ARM).
  validation {
    condition     = length(var.gpu.instance_types) >= 1 && length(var.gpu.instance_types) <= 30 && alltrue([for type in var.gpu.instance_types : can(regex("^(g4dn|g5|g6|g6e)\\.[0-9]*x?large$", type))])
    error_message = "gpu.instance_types must name 1 to 30 types of g4dn, g5, g6 or g6e, such as g6.2xlarge."
  }

  validation {
    condition     = var.gpu.max_instances >= (var.device == "cuda" ? 1 : 0) && floor(var.gpu.max_instances) == var.gpu.max_instances
    error_message = "gpu.max_instances must be a whole number of at least 1, or of at least 0 with device cpu."
  }
}

variable "driver" {
  description = "Memory of a job's driver, and what it has beyond its Java heap."
  type = object({
    memory   = optional(string, "3g")
    overhead = optional(string, "1g")
  })
  default = {}
}

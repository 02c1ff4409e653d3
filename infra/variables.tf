variable "project" {
  description = "What every name begins with; two projects of one account differ in it."
  type        = string
  default     = "superres"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,15}$", var.project))
    error_message = "project must be 2 to 16 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "environment" {
  description = "Name of the environment: dev, prod, local or another short word. Part of every resource name."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,7}$", var.environment))
    error_message = "environment must be 2 to 8 lower-case letters and digits, and begin with a letter."
  }
}

variable "region" {
  description = "Region of AWS, such as eu-central-1."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be one of AWS, such as eu-central-1."
  }
}

variable "tags" {
  description = "Tags of all resources besides Project, Environment, Stack and ManagedBy."
  type        = map(string)
  default     = {}
}

variable "force_destroy" {
  description = "Whether destroying also deletes the contents of buckets. False protects images from mistakes."
  type        = bool
  default     = false
}

# ---- network

variable "cidr" {
  description = "Addresses of the network, private ones; a prefix of 16 to 22."
  type        = string
  default     = "10.20.0.0/16"

  # As in modules/network, but before anything is planned.
  validation {
    condition     = can(cidrnetmask(var.cidr)) && can(regex("/(1[6-9]|2[0-2])$", var.cidr))
    error_message = "cidr must be a private IPv4 network with a prefix of 16 to 22, such as 10.20.0.0/16."
  }
}

variable "zone_count" {
  description = "Availability zones to spread over, 2 or 3."
  type        = number
  default     = 3
}

variable "nat_gateway_count" {
  description = "NAT gateways: 1 for all zones, one for each zone, or 0 (nothing can be fetched from the internet)."
  type        = number
  default     = 1
}

variable "public_addresses" {
  description = "Whether instances have public addresses, at which nothing can reach them, instead of NAT gateways and interface endpoints: cheaper for few instances."
  type        = bool
  default     = false
}

variable "interface_endpoints" {
  description = "Services of AWS that are reached without passing a NAT gateway, each billed by the hour in every zone."
  type        = set(string)
  default     = []
}

variable "flow_logs" {
  description = "Whether all connections in the network are recorded in the logs bucket."
  type        = bool
  default     = true
}

# ---- storage

variable "storage" {
  description = "Days until tables of runs, replaced images and records, and logs are deleted; and whether S3 logs requests."
  type = object({
    work_days         = optional(number, 3)
    noncurrent_days   = optional(number, 30)
    log_days          = optional(number, 90)
    access_logs       = optional(bool, true)
    key_deletion_days = optional(number, 30)
  })
  default = {}
}

# ---- streaming

variable "kafka" {
  description = "Whether there is Kafka (without it, the ingestion instance stores what it receives), and version and size of the cluster, as modules/streaming describes them."
  type = object({
    enabled          = optional(bool, true)
    version          = optional(string, "3.9.x.kraft")
    instance_type    = optional(string, "kafka.m7g.large")
    brokers_per_zone = optional(number, 1)
    volume_gigabytes = optional(number, 100)
    partitions       = optional(number, 24)
    monitoring       = optional(string, "DEFAULT")
    log_days         = optional(number, 30)
  })
  default = {}
}

# ---- package

variable "package_dir" {
  description = "Folder of the package built by `make package`, relative to this folder."
  type        = string
  default     = "../build/package"

  validation {
    condition     = fileexists("${var.package_dir}/manifest.json")
    error_message = "package_dir contains no package (manifest.json); run make package first."
  }
}

variable "config" {
  description = "What this environment sets in config.yaml, by section, such as { processing = { upscale_factor = 3 } }."
  type        = any
  default     = {}

  validation {
    condition     = can(keys(var.config)) && alltrue([for section in var.config : can(keys(section))])
    error_message = "config must have sections of config.yaml, each with keys: { processing = { upscale_factor = 3 } }."
  }
}

# ---- processing

variable "cluster_lifecycle" {
  description = "persistent: a cluster that is always there, whose GPUs go away when idle. transient: one for each execution, which starts ten minutes later and costs nothing between."
  type        = string
  default     = "persistent"

  validation {
    condition     = contains(["persistent", "transient"], var.cluster_lifecycle)
    error_message = "cluster_lifecycle must be persistent or transient."
  }
}

variable "processing" {
  description = "Release and sizes of the EMR cluster, as modules/processing describes them. device cpu infers without GPUs."
  type = object({
    release_label = optional(string, "emr-spark-8.1.0")
    device        = optional(string, "cuda")
    primary       = optional(object({ instance_types = optional(list(string), ["m7i.xlarge", "m6i.xlarge"]) }), {})
    core = optional(object({
      instance_types = optional(list(string), ["m7i.2xlarge", "m6i.2xlarge"])
      instances      = optional(number, 2)
      disk_gigabytes = optional(number, 200)
      executor = optional(object({
        cores    = optional(number, 7)
        memory   = optional(string, "6g")
        overhead = optional(string, "12g")
      }), {})
    }), {})
    gpu = optional(object({
      instance_types = optional(list(string), ["g6.2xlarge", "g5.2xlarge", "g4dn.2xlarge"])
      max_instances  = optional(number, 4)
      executor = optional(object({
        cores    = optional(number, 4)
        memory   = optional(string, "6g")
        overhead = optional(string, "16g")
      }), {})
    }), {})
    driver = optional(object({
      memory   = optional(string, "3g")
      overhead = optional(string, "1g")
    }), {})
  })
  default = {}
}

# ---- orchestration

variable "schedule" {
  description = "When yesterday's and today's images are run, in UTC, as rate(…) or cron(…); and whether that is on."
  type = object({
    expression = optional(string, "rate(6 hours)")
    enabled    = optional(bool, true)
  })
  default = {}
}

variable "starts" {
  description = "Whether new images start runs, within minutes; the schedule is then the second net."
  type        = object({ on_new_images = optional(bool, true) })
  default     = {}
}

variable "pipeline" {
  description = "State machine: seconds that a step may take, waiting included; whether X-Ray traces it; days until its logs, and those of steps and services, are deleted from CloudWatch."
  type = object({
    step_seconds = optional(number, 43200)
    tracing      = optional(bool, true)
    log_days     = optional(number, 30)
  })
  default = {}
}

# ---- services

variable "load_balancer" {
  description = "Access to gallery and uploads: only inside the network, or public, which needs allowed_cidrs and a certificate. host is the name that people use; it must point to the load balancer and match the certificate. Without one (enabled), sessions of Session Manager lead to the instances, one of each service."
  type = object({
    enabled         = optional(bool, true)
    public          = optional(bool, false)
    allowed_cidrs   = optional(list(string), [])
    certificate_arn = optional(string)
    host            = optional(string)
  })
  default = {}

  validation {
    condition     = !var.load_balancer.public || (var.load_balancer.certificate_arn != null && length(var.load_balancer.allowed_cidrs) > 0)
    error_message = "load_balancer: public needs certificate_arn and allowed_cidrs; [\"0.0.0.0/0\"] lets everyone in, and must be said."
  }

  validation {
    condition     = var.load_balancer.enabled || (!var.load_balancer.public && var.load_balancer.host == null && var.ingestion.instances == 1 && var.notifier.instances == 1)
    error_message = "load_balancer: without one there is neither public nor host, and one instance of ingestion and notifier each."
  }

  validation {
    condition     = (var.load_balancer.certificate_arn == null) == (var.load_balancer.host == null)
    error_message = "load_balancer: certificate_arn and host belong together: the certificate is for that name."
  }

  validation {
    condition     = var.load_balancer.host == null ? true : can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.load_balancer.host))
    error_message = "load_balancer: host must be a name such as gallery.example.org."
  }
}

variable "ingestion" {
  description = "Type and number of the instances that fetch images and receive uploads; one without Kafka."
  type = object({
    instance_type = optional(string, "t3.medium")
    instances     = optional(number, 1)
  })
  default = {}
}

variable "notifier" {
  description = "Type and number of the instances that show results; sqlite (one instance, which forgets subscriptions when it is replaced) or postgres (any number, on RDS); and whether the gallery can be viewed without a token."
  type = object({
    instance_type     = optional(string, "t3.small")
    instances         = optional(number, 1)
    public_gallery    = optional(bool, false)
    database          = optional(string, "sqlite")
    database_class    = optional(string, "db.t4g.small")
    database_multi_az = optional(bool, true)
  })
  default = {}

  validation {
    condition     = contains(["sqlite", "postgres"], var.notifier.database)
    error_message = "notifier: database must be sqlite or postgres."
  }

  validation {
    condition     = var.notifier.instances == 1 || var.notifier.database == "postgres"
    error_message = "notifier: several instances need database = \"postgres\"."
  }
}

variable "deletion_protection" {
  description = "Whether load balancer and database are protected from being destroyed until this is set to false."
  type        = bool
  default     = false
}

variable "secret_recovery_days" {
  description = "Days for which a destroyed secret can be restored, 7 to 30, and its name cannot be reused; 0: deleted immediately."
  type        = number
  default     = 30
}

# ---- observability

variable "alarms" {
  description = "Email address for alarms (confirmed by a link; null: none), US dollars a month above which a budget alarms (null: no budget), and number of references that may wait for half an hour."
  type = object({
    email          = optional(string)
    budget_dollars = optional(number)
    lag_messages   = optional(number, 10000)
  })
  default = {}
}

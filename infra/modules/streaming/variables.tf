variable "name" {
  description = "Name of the cluster, and what the names of its parts begin with."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,63}$", var.name))
    error_message = "name must be 2 to 64 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "vpc_id" {
  description = "Id of the network."
  type        = string
}

variable "subnet_ids" {
  description = "Ids of private subnets, one in each zone; there are as many copies of a message."
  type        = list(string)

  validation {
    condition     = contains([2, 3], length(var.subnet_ids))
    error_message = "subnet_ids must have 2 or 3 subnets, as MSK requires."
  }
}

variable "key_arn" {
  description = "ARN of the KMS key that encrypts the brokers' disks and logs."
  type        = string
}

variable "kafka_version" {
  description = "Version of Kafka, one of those without ZooKeeper. 3.9.x is the one that AWS recommends; 4.1.x.kraft is newer."
  type        = string
  default     = "3.9.x.kraft"

  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.(x|[0-9]+)\\.kraft$", var.kafka_version))
    error_message = "kafka_version must be one without ZooKeeper, such as 3.9.x.kraft."
  }
}

variable "instance_type" {
  description = "Type of the brokers. A cluster cannot move to a smaller one later."
  type        = string
  default     = "kafka.m7g.large"

  # MSK refuses kafka.t3.small without ZooKeeper: "Unsupported InstanceType specified. Valid values:
  # [express.m7g.*, kafka.m5.*, kafka.m7g.*]" (as users report it; AWS's pages do not say so).
  validation {
    condition     = can(regex("^kafka\\.(m5|m7g)\\.[0-9]*x?large$", var.instance_type))
    error_message = "instance_type must be a standard broker of MSK that runs without ZooKeeper: kafka.m5.… or kafka.m7g.…"
  }
}

variable "brokers_per_zone" {
  description = "Brokers in each zone. More can be added; partitions are to be spread over them by hand."
  type        = number
  default     = 1

  validation {
    condition     = var.brokers_per_zone >= 1 && var.brokers_per_zone <= 10
    error_message = "brokers_per_zone must lie between 1 and 10 (30 brokers are MSK's quota)."
  }
}

variable "volume_gigabytes" {
  description = "Disk of each broker. A reference needs about a kilobyte, for a week. The disk can grow but not shrink."
  type        = number
  default     = 100

  validation {
    condition     = var.volume_gigabytes >= 1 && var.volume_gigabytes <= 16384
    error_message = "volume_gigabytes must lie between 1 and 16384."
  }
}

variable "partitions" {
  description = "Partitions of a topic whose creator leaves the number to the brokers: at most so many consumers share its work."
  type        = number
  default     = 24

  validation {
    condition     = var.partitions >= 1 && var.partitions <= 1000
    error_message = "partitions must lie between 1 and 1000, which one small cluster carries."
  }
}

variable "topics" {
  description = "Topics that producer and consumer may use and create: kafka.topic and kafka.dead_letter_topic of config.yaml."
  type        = list(string)
  default     = ["images-topic", "images-topic-dead-letter"]

  validation {
    condition     = length(var.topics) > 0 && alltrue([for topic in var.topics : can(regex("^[A-Za-z0-9._-]{1,249}$", topic))])
    error_message = "topics must be names of topics in full; a pattern would open others."
  }
}

variable "groups" {
  description = "Consumer groups that may be joined: kafka.group of config.yaml; * stands for anything."
  type        = list(string)
  default     = ["superres-consumer", "superres-consumer-*"]

  validation {
    condition     = length(var.groups) > 0 && !contains(var.groups, "*")
    error_message = "groups must be names of groups; * alone would open them all."
  }
}

variable "monitoring" {
  description = "Level of metrics in CloudWatch. DEFAULT is free and includes consumer lag; the others are billed by metric."
  type        = string
  default     = "DEFAULT"

  validation {
    condition     = contains(["DEFAULT", "PER_BROKER", "PER_TOPIC_PER_BROKER", "PER_TOPIC_PER_PARTITION"], var.monitoring)
    error_message = "monitoring must be DEFAULT, PER_BROKER, PER_TOPIC_PER_BROKER or PER_TOPIC_PER_PARTITION."
  }
}

variable "log_days" {
  description = "Days until the brokers' logs are deleted."
  type        = number
  default     = 30

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365], var.log_days)
    error_message = "log_days must be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180 or 365."
  }
}

# Kafka: one MSK cluster without ZooKeeper, which lets in only clients that IAM knows, over TLS.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  port    = 9098 # of IAM clients: https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html
  zones   = length(var.subnet_ids)
  brokers = local.zones * var.brokers_per_zone

  # The cluster's own id in its ARN is replaced by *, so that a plan shows complete policies.
  # https://docs.aws.amazon.com/msk/latest/developerguide/kafka-actions.html
  prefix      = "arn:${data.aws_partition.current.partition}:kafka:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
  cluster_arn = "${local.prefix}:cluster/${var.name}/*"
  topic_arns  = [for topic in var.topics : "${local.prefix}:topic/${var.name}/*/${topic}"]
  group_arns  = [for group in var.groups : "${local.prefix}:group/${var.name}/*/${group}"]
}

# ---- who reaches the brokers

resource "aws_security_group" "brokers" {
  name        = "${var.name}-brokers"
  description = "Kafka brokers"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-brokers" }
}

# Hosts that speak to Kafka bear this one beside their own.
resource "aws_security_group" "clients" {
  #checkov:skip=CKV2_AWS_5:Other modules give it to their hosts.

  name        = "${var.name}-kafka-clients"
  description = "Hosts that may reach the Kafka brokers"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-kafka-clients" }
}

resource "aws_vpc_security_group_ingress_rule" "brokers" {
  security_group_id            = aws_security_group.brokers.id
  description                  = "Kafka with IAM, from clients"
  referenced_security_group_id = aws_security_group.clients.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_egress_rule" "clients" {
  security_group_id            = aws_security_group.clients.id
  description                  = "Kafka with IAM, to brokers"
  referenced_security_group_id = aws_security_group.brokers.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

# ---- the cluster

resource "aws_msk_configuration" "this" {
  name        = var.name
  description = "Brokers of ${var.name}"

  server_properties = join("\n", [for key, value in local.properties : "${key}=${value}"])

  lifecycle {
    # A cluster cannot be without one while it changes.
    create_before_destroy = true
  }
}

locals {
  properties = {
    # A mistyped name must fail, and a topic must get the settings of its service.
    "auto.create.topics.enable" = false
    # A copy in each zone. With three, one zone may fail and writing goes on with two; with two zones
    # only one copy can be waited for then.
    "default.replication.factor"     = local.zones
    "min.insync.replicas"            = local.zones - 1
    "unclean.leader.election.enable" = false
    # What a service that creates a topic gets when it leaves both numbers to the brokers (-1).
    "num.partitions" = var.partitions
    # A reference that no consumer took for so long is dead; uploads in S3 outlive it by a day.
    "log.retention.hours" = 168
    # A consumer group may be inactive for two weeks before its offsets are deleted.
    "offsets.retention.minutes" = 20160
  }
}

resource "aws_cloudwatch_log_group" "brokers" {
  name              = "/${var.name}/kafka"
  retention_in_days = var.log_days
  kms_key_id        = var.key_arn
}

resource "aws_msk_cluster" "this" {
  cluster_name           = var.name
  kafka_version          = var.kafka_version
  number_of_broker_nodes = local.brokers
  enhanced_monitoring    = var.monitoring

  broker_node_group_info {
    instance_type   = var.instance_type
    client_subnets  = var.subnet_ids
    security_groups = [aws_security_group.brokers.id]

    connectivity_info {
      public_access {
        type = "DISABLED"
      }
    }

    storage_info {
      ebs_storage_info {
        volume_size = var.volume_gigabytes
      }
    }
  }

  # IAM alone: there is no password to keep (SCRAM), no certificate to renew, and no open door.
  client_authentication {
    unauthenticated = false

    sasl {
      iam   = true
      scram = false
    }
  }

  encryption_info {
    encryption_at_rest_kms_key_arn = var.key_arn

    encryption_in_transit {
      client_broker = "TLS"
      in_cluster    = true
    }
  }

  configuration_info {
    arn      = aws_msk_configuration.this.arn
    revision = aws_msk_configuration.this.latest_revision
  }

  logging_info {
    broker_logs {
      cloudwatch_logs {
        enabled   = true
        log_group = aws_cloudwatch_log_group.brokers.name
      }
    }
  }

  timeouts {
    # Brokers are made, and updated one by one, in tens of minutes each.
    create = "2h"
    update = "4h"
  }
}

# ---- what producer and consumer may do

data "aws_iam_policy_document" "client" {
  # The addresses of brokers change when they are replaced, so a client reads them when it starts.
  statement {
    sid       = "FindBrokers"
    actions   = ["kafka:GetBootstrapBrokers"]
    resources = [local.cluster_arn]
  }

  statement {
    sid       = "Connect"
    actions   = ["kafka-cluster:Connect", "kafka-cluster:DescribeCluster", "kafka-cluster:WriteDataIdempotently"]
    resources = [local.cluster_arn]
  }

  # Topics are made by the services, not here.
  statement {
    sid       = "Topics"
    actions   = ["kafka-cluster:CreateTopic", "kafka-cluster:DescribeTopic", "kafka-cluster:ReadData", "kafka-cluster:WriteData"]
    resources = local.topic_arns
  }

  statement {
    sid       = "Groups"
    actions   = ["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"]
    resources = local.group_arns
  }
}

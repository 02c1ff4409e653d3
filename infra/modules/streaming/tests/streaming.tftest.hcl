mock_provider "aws" {
  source = "../../tests/mocks"

  mock_resource "aws_msk_configuration" {
    defaults = {
      arn             = "arn:aws:kafka:eu-central-1:123456789012:configuration/superres-test/1"
      latest_revision = 3
    }
  }
}

variables {
  name       = "superres-test"
  vpc_id     = "vpc-1"
  subnet_ids = ["subnet-1", "subnet-2", "subnet-3"]
  key_arn    = "arn:aws:kms:eu-central-1:123456789012:key/data"
}

run "by_default" {
  command = apply

  # Only clients that iam knows get in.
  assert {
    condition = (
      aws_msk_cluster.this.client_authentication[0].unauthenticated == false &&
      aws_msk_cluster.this.client_authentication[0].sasl[0].iam == true &&
      aws_msk_cluster.this.client_authentication[0].sasl[0].scram == false &&
      length(aws_msk_cluster.this.client_authentication[0].tls) == 0
    )
    error_message = "IAM must be the only way to authenticate."
  }

  assert {
    condition     = aws_msk_cluster.this.broker_node_group_info[0].connectivity_info[0].public_access[0].type == "DISABLED"
    error_message = "The brokers must have no public address."
  }

  # All is encrypted.
  assert {
    condition = (
      aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].client_broker == "TLS" &&
      aws_msk_cluster.this.encryption_info[0].encryption_in_transit[0].in_cluster == true &&
      aws_msk_cluster.this.encryption_info[0].encryption_at_rest_kms_key_arn == var.key_arn
    )
    error_message = "On the way between brokers and clients, between brokers, and on disk."
  }

  assert {
    condition     = aws_cloudwatch_log_group.brokers.kms_key_id == var.key_arn && startswith(aws_cloudwatch_log_group.brokers.name, "/${var.name}/")
    error_message = "Logs are encrypted with the key, whose policy knows groups below /{name}/."
  }

  # Brokers are reached by clients at one port.
  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.brokers.referenced_security_group_id == aws_security_group.clients.id &&
      aws_vpc_security_group_ingress_rule.brokers.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.brokers.cidr_ipv6 == null &&
      aws_vpc_security_group_ingress_rule.brokers.from_port == 9098 && aws_vpc_security_group_ingress_rule.brokers.to_port == 9098
    )
    error_message = "Only hosts that bear the clients' security group reach the brokers, at IAM's port."
  }

  assert {
    condition     = aws_msk_cluster.this.broker_node_group_info[0].security_groups == toset([aws_security_group.brokers.id])
    error_message = "The brokers stand behind that security group alone."
  }

  # No message is lost with a zone.
  assert {
    condition = alltrue([
      for line in ["auto.create.topics.enable=false", "default.replication.factor=3", "min.insync.replicas=2", "unclean.leader.election.enable=false"] :
      contains(split("\n", aws_msk_configuration.this.server_properties), line)
    ])
    error_message = "Three copies, two of them waited for, and no topics by mistyped names."
  }

  assert {
    condition     = aws_msk_cluster.this.configuration_info[0].arn == aws_msk_configuration.this.arn && aws_msk_cluster.this.configuration_info[0].revision == 3
    error_message = "The brokers run with that configuration."
  }

  assert {
    condition     = aws_msk_cluster.this.number_of_broker_nodes == 3
    error_message = "There is a broker in each zone."
  }

  # Brokers write logs.
  assert {
    condition     = aws_msk_cluster.this.logging_info[0].broker_logs[0].cloudwatch_logs[0].enabled && aws_msk_cluster.this.logging_info[0].broker_logs[0].cloudwatch_logs[0].log_group == aws_cloudwatch_log_group.brokers.name
    error_message = "The brokers' logs go to their group."
  }
}

run "two_zones_have_two_copies" {
  command = apply

  variables {
    subnet_ids       = ["subnet-1", "subnet-2"]
    brokers_per_zone = 2
  }

  assert {
    condition = alltrue([
      for line in ["default.replication.factor=2", "min.insync.replicas=1"] :
      contains(split("\n", aws_msk_configuration.this.server_properties), line)
    ])
    error_message = "With two zones, waiting for both copies would stop all writing while one broker restarts."
  }

  assert {
    condition     = aws_msk_cluster.this.number_of_broker_nodes == 4
    error_message = "There are as many brokers in each zone."
  }
}

run "zookeeper_is_refused" {
  command = plan

  variables {
    kafka_version = "3.9.x"
  }

  expect_failures = [var.kafka_version]
}

run "brokers_that_need_zookeeper_are_refused" {
  command = plan

  variables {
    instance_type = "kafka.t3.small"
  }

  expect_failures = [var.instance_type]
}

run "all_groups_are_refused" {
  command = plan

  variables {
    groups = ["*"]
  }

  expect_failures = [var.groups]
}

# A service on EC2: a group of equal instances that install a release as they start. access.tf says
# what they may do, and who reaches them.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

# Instances of the group do not get the provider's tags automatically.
data "aws_default_tags" "current" {}

# Amazon Linux 2023, the newest: an apply after a new one replaces the instances, which patches them.
data "aws_ssm_parameter" "image" {
  name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # It contains digests, so a new release or configuration creates a new version of the launch
  # template, which replaces the instances.
  exports = merge(var.settings, {
    AWS_DEFAULT_REGION = local.region
    SUPERRES_UNITS     = join(" ", var.units)
    SUPERRES_LOG_GROUP = var.log_group.name
    SUPERRES_SECRETS   = join(" ", [for secret in var.secrets : "${secret.unit}:${secret.variable}=${secret.id}"])
    },
    { for part, file in var.files : "SUPERRES_${upper(part)}" => "s3://${var.bucket}/${file.key}" },
    { for part, file in var.files : "SUPERRES_${upper(part)}_SHA256" => file.sha256 },
  )
  user_data = join("\n", concat(
    ["#!/usr/bin/env bash"],
    [for name, value in local.exports : "export ${name}='${replace(value, "'", "'\\''")}'"],
    [file("${path.module}/../../services/install.sh")],
  ))
}

# Where the journals of the units outlive their instance: the CloudWatch agent sends them there
# (services/install.sh), a log stream for each instance and unit.
resource "aws_cloudwatch_log_group" "this" {
  #checkov:skip=CKV_AWS_338:A service's log is for finding a fault; what was processed stays in records for ever.

  name              = var.log_group.name
  retention_in_days = var.log_group.days
  kms_key_id        = var.key_arn
}

resource "aws_launch_template" "this" {
  name                   = var.name
  update_default_version = true
  image_id               = nonsensitive(data.aws_ssm_parameter.image.value)
  instance_type          = var.instance_type
  vpc_security_group_ids = concat([aws_security_group.this.id], var.security_group_ids)
  user_data              = base64encode(local.user_data)

  iam_instance_profile {
    arn = aws_iam_instance_profile.this.arn
  }

  # Tokens only, and none that leaves the instance: what a service can be talked into fetching for
  # others must not be the credentials of its role.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  # With the account's key for disks. Ours would need the service-linked role of Auto Scaling in its
  # policy, which KMS refuses as long as the account has no such role.
  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = var.volume_gigabytes
      encrypted             = true
      delete_on_termination = true
    }
  }

  # Every five minutes, which is free: nothing here reads the metrics of instances by the minute.
  monitoring {
    enabled = false
  }

  dynamic "tag_specifications" {
    for_each = toset(["instance", "volume"])

    content {
      resource_type = tag_specifications.value
      tags          = merge(data.aws_default_tags.current.tags, { Name = var.name })
    }
  }

  lifecycle {
    precondition {
      condition     = length(local.user_data) <= 16384
      error_message = "The user data of ${var.name} has ${length(local.user_data)} bytes; EC2 accepts 16384."
    }
  }
}

resource "aws_autoscaling_group" "this" {
  #checkov:skip=CKV_AWS_153:Tags are in the launch template.

  name                      = var.name
  desired_capacity          = var.instances
  min_size                  = var.instances
  max_size                  = var.replace_first ? var.instances : var.instances * 2 # new ones start before old ones stop
  vpc_zone_identifier       = var.subnet_ids
  target_group_arns         = var.target[*].group_arn
  health_check_type         = var.target == null ? "EC2" : "ELB"
  health_check_grace_period = 600 # until everything is installed and answers
  wait_for_capacity_timeout = "15m"

  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }

  # A new version of the launch template replaces the instances; one that does not get well is taken
  # back.
  instance_refresh {
    strategy = "Rolling"

    preferences {
      auto_rollback          = true
      instance_warmup        = 120
      min_healthy_percentage = var.replace_first ? 0 : 100
      max_healthy_percentage = var.replace_first ? 100 : 200
    }
  }

  # Instances fetch as they start, with what the role may do.
  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this, aws_vpc_security_group_egress_rule.web]
}

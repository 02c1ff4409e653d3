# The persistent cluster: it is always there, and costs what its primary and core instances cost.

resource "terraform_data" "specification" {
  count = var.cluster_lifecycle == "persistent" ? 1 : 0

  input = local.specification
}

resource "aws_emr_cluster" "this" {
  #checkov:skip=CKV_AWS_114:Kerberos protects against people who log in, which is not possible: there is no key, and no port is open.

  count = var.cluster_lifecycle == "persistent" ? 1 : 0

  name                   = var.name
  release_label          = var.release_label
  applications           = local.applications
  service_role           = aws_iam_role.service.arn
  log_uri                = local.log_uri
  security_configuration = aws_emr_security_configuration.this.name
  configurations_json    = jsonencode(local.configurations)
  ebs_root_volume_size   = local.root_gigabytes

  keep_job_flow_alive_when_no_steps = true
  # Steps wait for one another, so two executions never share cores meant for one.
  step_concurrency_level     = 1
  scale_down_behavior        = "TERMINATE_AT_TASK_COMPLETION"
  unhealthy_node_replacement = true
  # A plan would list all steps; after a year those are thousands.
  list_steps_states = ["PENDING", "RUNNING"]
  # Terraform must be able to replace and destroy it; everything on it is also in S3.
  termination_protection = false

  ec2_attributes {
    subnet_ids                        = var.subnet_ids
    instance_profile                  = aws_iam_instance_profile.nodes.arn
    emr_managed_master_security_group = aws_security_group.primary.id
    emr_managed_slave_security_group  = aws_security_group.workers.id
    service_access_security_group     = local.service_group
  }

  master_instance_fleet {
    name                      = "primary"
    target_on_demand_capacity = local.fleets.primary.on_demand
    target_spot_capacity      = local.fleets.primary.spot

    dynamic "instance_type_configs" {
      for_each = local.fleets.primary.instance_types

      content {
        instance_type     = instance_type_configs.value
        weighted_capacity = 1

        ebs_config {
          type                 = "gp3"
          size                 = local.fleets.primary.disk_gigabytes
          volumes_per_instance = 1
        }
      }
    }

    launch_specifications {
      on_demand_specification {
        allocation_strategy = "lowest-price"
      }
    }
  }

  core_instance_fleet {
    name                      = "core"
    target_on_demand_capacity = local.fleets.core.on_demand
    target_spot_capacity      = local.fleets.core.spot

    dynamic "instance_type_configs" {
      for_each = local.fleets.core.instance_types

      content {
        instance_type     = instance_type_configs.value
        weighted_capacity = 1

        ebs_config {
          type                 = "gp3"
          size                 = local.fleets.core.disk_gigabytes
          volumes_per_instance = 1
        }
      }
    }

    launch_specifications {
      on_demand_specification {
        allocation_strategy = "lowest-price"
      }
    }
  }

  dynamic "bootstrap_action" {
    for_each = local.bootstrap_actions

    content {
      name = bootstrap_action.value.name
      path = bootstrap_action.value.path
      args = bootstrap_action.value.args
    }
  }

  tags = merge(local.emr_tag, { Name = var.name })

  lifecycle {
    # EMR returns these differently from the request, and any difference would replace the
    # cluster: configurations in another order, fleets with the capacity they have by now.
    # https://github.com/hashicorp/terraform-provider-aws/issues/41988, 19931, 36492
    ignore_changes = [configurations_json, master_instance_fleet, core_instance_fleet]

    # What we ask for ourselves still counts.
    replace_triggered_by = [terraform_data.specification[0]]

    # The state machine uses the new cluster before the old one is terminated.
    create_before_destroy = true
  }

  # Nodes that come up before they may read the wheelhouse fail, and so does deleting the cluster
  # after the role has lost its rights.
  depends_on = [
    aws_cloudwatch_log_group.steps,
    aws_iam_role_policy.service,
    aws_iam_role_policy_attachment.service,
    aws_iam_role_policy.nodes,
    aws_vpc_endpoint.emr,
    aws_vpc_security_group_egress_rule.between,
    aws_vpc_security_group_egress_rule.endpoint,
    aws_vpc_security_group_egress_rule.https,
    aws_vpc_security_group_egress_rule.packages,
    aws_vpc_security_group_ingress_rule.between,
    aws_vpc_security_group_ingress_rule.endpoint,
  ]
}

resource "aws_emr_instance_fleet" "task" {
  count = var.cluster_lifecycle == "persistent" && local.scales ? 1 : 0

  cluster_id                = aws_emr_cluster.this[0].id
  name                      = "task"
  target_on_demand_capacity = local.fleets.task.on_demand
  target_spot_capacity      = local.fleets.task.spot

  dynamic "instance_type_configs" {
    for_each = local.fleets.task.instance_types

    content {
      instance_type     = instance_type_configs.value
      weighted_capacity = 1
      # No more than the on-demand price.
      bid_price_as_percentage_of_on_demand_price = 100

      dynamic "ebs_config" {
        for_each = local.fleets.task.disk_gigabytes == null ? [] : [local.fleets.task.disk_gigabytes]

        content {
          type                 = "gp3"
          size                 = ebs_config.value
          volumes_per_instance = 1
        }
      }

      dynamic "configurations" {
        for_each = local.fleets.task.configurations

        content {
          classification = configurations.value.Classification
          properties     = configurations.value.Properties
        }
      }
    }
  }

  launch_specifications {
    spot_specification {
      allocation_strategy      = "price-capacity-optimized"
      timeout_action           = "SWITCH_TO_ON_DEMAND"
      timeout_duration_minutes = local.spot_minutes
    }
  }

  lifecycle {
    # Managed scaling sets the capacities. Types and configurations change with the cluster.
    ignore_changes = [target_on_demand_capacity, target_spot_capacity, instance_type_configs, launch_specifications]
  }
}

resource "aws_emr_managed_scaling_policy" "this" {
  count = var.cluster_lifecycle == "persistent" && local.scales ? 1 : 0

  cluster_id = aws_emr_cluster.this[0].id

  compute_limits {
    unit_type                       = "InstanceFleetUnits"
    minimum_capacity_units          = local.scaling.minimum
    maximum_capacity_units          = local.scaling.maximum
    maximum_core_capacity_units     = local.scaling.core
    maximum_ondemand_capacity_units = local.scaling.on_demand
  }

  # It scales the fleets that it finds.
  depends_on = [aws_emr_instance_fleet.task]
}

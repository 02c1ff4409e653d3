# A transient cluster, as parameters of the state machine's createCluster:
# https://docs.aws.amazon.com/emr/latest/APIReference/API_RunJobFlow.html
# Step Functions knows fewer fields (stepfunctions/fields.py of the local cloud's plugin lists
# them) and accepts no state machine with another, such as UnhealthyNodeReplacement.
# Defined for both lifecycles, so that the state machine has one definition.

locals {
  run_job_flow = merge(local.job_flow, !local.scales ? {} : { ManagedScalingPolicy = { ComputeLimits = {
    UnitType                     = "InstanceFleetUnits"
    MinimumCapacityUnits         = local.scaling.minimum
    MaximumCapacityUnits         = local.scaling.maximum
    MaximumCoreCapacityUnits     = local.scaling.core
    MaximumOnDemandCapacityUnits = local.scaling.on_demand
  } } })

  job_flow = {
    Name                  = var.name
    ReleaseLabel          = var.release_label
    Applications          = [for name in local.applications : { Name = name }]
    ServiceRole           = aws_iam_role.service.arn
    JobFlowRole           = aws_iam_instance_profile.nodes.arn
    LogUri                = local.log_uri
    SecurityConfiguration = aws_emr_security_configuration.this.name
    Configurations        = local.configurations
    EbsRootVolumeSize     = local.root_gigabytes
    StepConcurrencyLevel  = 1
    ScaleDownBehavior     = "TERMINATE_AT_TASK_COMPLETION"
    VisibleToAllUsers     = true

    BootstrapActions = [for action in local.bootstrap_actions : {
      Name                  = action.name
      ScriptBootstrapAction = { Path = action.path, Args = action.args }
    }]

    Instances = merge({
      # Asked for by createCluster: the state machine terminates it.
      KeepJobFlowAliveWhenNoSteps   = true
      TerminationProtected          = false
      Ec2SubnetIds                  = var.subnet_ids
      EmrManagedMasterSecurityGroup = aws_security_group.primary.id
      EmrManagedSlaveSecurityGroup  = aws_security_group.workers.id

      InstanceFleets = [for name in local.fleet_names : {
        Name                   = name
        InstanceFleetType      = local.fleets[name].role
        TargetOnDemandCapacity = local.fleets[name].on_demand
        TargetSpotCapacity     = local.fleets[name].spot

        InstanceTypeConfigs = [for type in local.fleets[name].instance_types : merge(
          { InstanceType = type, WeightedCapacity = 1 },
          local.fleets[name].disk_gigabytes == null ? {} : { EbsConfiguration = { EbsBlockDeviceConfigs = [{
            VolumeSpecification = { VolumeType = "gp3", SizeInGB = local.fleets[name].disk_gigabytes }
            VolumesPerInstance  = 1
          }] } },
          local.fleets[name].spot == 0 ? {} : { BidPriceAsPercentageOfOnDemandPrice = 100 },
          length(local.fleets[name].configurations) == 0 ? {} : { Configurations = local.fleets[name].configurations },
        )]

        LaunchSpecifications = merge(
          local.fleets[name].spot > 0 ? {} : { OnDemandSpecification = { AllocationStrategy = "lowest-price" } },
          local.fleets[name].spot == 0 ? {} : { SpotSpecification = {
            AllocationStrategy     = "price-capacity-optimized"
            TimeoutAction          = "SWITCH_TO_ON_DEMAND"
            TimeoutDurationMinutes = local.spot_minutes
          } },
        )
      }]
    }, var.public_addresses ? {} : { ServiceAccessSecurityGroup = local.service_group })

    # The second net, if the state machine cannot terminate it: an execution that someone stops does
    # not. Step Functions looks every five minutes whether a step has ended, so idle for an hour
    # means that it was abandoned.
    AutoTerminationPolicy = { IdleTimeout = 3600 }

    # The state machine's role reaches only clusters with the tag Stack (modules/orchestration).
    Tags = [for key, value in merge(data.aws_default_tags.current.tags, local.emr_tag, { Stack = var.name }) : { Key = key, Value = value }]
  }
}

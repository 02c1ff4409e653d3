mock_provider "aws" {
  source = "../../tests/mocks"

  mock_data "aws_default_tags" {
    defaults = { tags = { Project = "superres", Environment = "test" } }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/role" }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/profile" }
  }
}

run "persistent" {
  command = apply

  assert {
    condition     = aws_emr_cluster.this[0].release_label == "emr-spark-8.1.0" && aws_emr_cluster.this[0].applications == toset(["Spark"])
    error_message = "By default there is a cluster of the release with Spark 4.1, which knows the one application Spark."
  }

  assert {
    condition     = output.cluster_id == aws_emr_cluster.this[0].id && aws_emr_cluster.this[0].keep_job_flow_alive_when_no_steps && length(aws_emr_cluster.this[0].auto_termination_policy) == 0
    error_message = "It stays when there is nothing to do."
  }

  # The gpu plugin is configured on the gpu fleet only.
  assert {
    condition = alltrue([
      for type in aws_emr_instance_fleet.task[0].instance_type_configs : anytrue([
        for each in type.configurations : each.classification == "yarn-site" && each.properties["yarn.nodemanager.resource-plugins"] == "yarn.io/gpu" && each.properties["yarn.nodemanager.linux-container-executor.cgroups.mount-path"] == "/spark-rapids-cgroup"
      ])
    ])
    error_message = "Each type of the GPU fleet has YARN's GPU plugin, with the folder of the cgroup that the bootstrap action mounts."
  }

  assert {
    condition = !strcontains(aws_emr_cluster.this[0].configurations_json, "yarn.nodemanager.resource-plugins") && alltrue(flatten([
      for fleet in [aws_emr_cluster.this[0].master_instance_fleet[0], aws_emr_cluster.this[0].core_instance_fleet[0]] : [for type in fleet.instance_type_configs : length(type.configurations) == 0]
    ]))
    error_message = "A NodeManager with the GPU plugin does not start without a GPU: no other instance may have it."
  }

  assert {
    condition = [for each in jsondecode(aws_emr_cluster.this[0].configurations_json) : each.Configurations if each.Classification == "container-executor"] == [[
      { Classification = "gpu", Properties = { "module.enabled" = "true" } },
      { Classification = "cgroups", Properties = { root = "/spark-rapids-cgroup", "yarn-hierarchy" = "yarn" } },
    ]]
    error_message = "The container executor's GPU module is on; only the cluster's configurations can be nested."
  }

  assert {
    condition = merge([for each in jsondecode(aws_emr_cluster.this[0].configurations_json) : each.Properties]...) == {
      "yarn.resource-types"                               = "yarn.io/gpu"
      "yarn.node-labels.enabled"                          = "true"
      "yarn.node-labels.am.default-node-label-expression" = "CORE"
      "yarn.scheduler.capacity.resource-calculator"       = "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator"
      enableSparkRapids                                   = "true"
    }
    error_message = "Every node knows what a GPU is and CUDA is installed; drivers keep to core instances; no plugin of Spark takes the GPU."
  }

  # Inference alone asks for gpus.
  assert {
    condition = { for job, arguments in output.steps : job => length([for each in arguments : each if strcontains(each, "resource.gpu")]) } == {
      mass_split = 0, batch_inference = 3, mass_reconstruct = 0, evaluate = 0, fused = 3
    }
    error_message = "Only what infers asks for a GPU: the amount of an executor, of a task, and the script that finds it."
  }

  assert {
    condition = alltrue([
      for each in ["spark.executor.resource.gpu.amount=1", "spark.task.resource.gpu.amount=0.250", "spark.executor.cores=4", "spark.executor.resource.gpu.discoveryScript=/usr/lib/spark/scripts/gpu/getGpusResources.sh", "spark.dynamicAllocation.maxExecutors=4"] :
      contains(output.steps["batch_inference"], each)
    ])
    error_message = "Four tasks share the one GPU of an executor, and there are as many executors as instances."
  }

  assert {
    condition = alltrue([
      for job in ["mass_split", "mass_reconstruct", "evaluate"] :
      contains(output.steps[job], "spark.executor.instances=2") && contains(output.steps[job], "spark.dynamicAllocation.enabled=false")
    ])
    error_message = "CPU jobs have an executor on each core instance and never ask for more."
  }

  assert {
    condition = { for job, arguments in output.steps : job => contains(arguments, "spark.yarn.executor.nodeLabelExpression=CORE") } == {
      mass_split = true, batch_inference = false, mass_reconstruct = true, evaluate = true, fused = false
    }
    error_message = "Executors of CPU jobs keep to core instances, so that none is lost with a spot instance."
  }

  assert {
    condition = alltrue([
      for job, arguments in output.steps : startswith(join(" ", arguments), "spark-submit --deploy-mode cluster --conf ") &&
      endswith(join(" ", arguments), " s3://artifacts/releases/1/jobs/${job}.py --config s3://artifacts/releases/1/environments/test.yaml") &&
      length([for each in arguments : each if each == "--conf"]) == length([for each in arguments : each if startswith(each, "spark.")]) &&
      alltrue([for key in ["spark.pyspark.python", "spark.pyspark.driver.python", "spark.yarn.appMasterEnv.PYSPARK_PYTHON"] : contains(arguments, "${key}=/mnt/superres/venv/bin/python")])
    ])
    error_message = "Each job runs on the cluster, with the Python that the bootstrap action made and this environment's configuration."
  }

  # Spot with switch-over, down to no gpu.
  assert {
    condition = (
      aws_emr_instance_fleet.task[0].target_on_demand_capacity == 0 &&
      [for each in aws_emr_instance_fleet.task[0].launch_specifications[0].spot_specification : [each.timeout_action, each.allocation_strategy]] == [["SWITCH_TO_ON_DEMAND", "price-capacity-optimized"]] &&
      toset([for each in aws_emr_instance_fleet.task[0].instance_type_configs : each.instance_type]) == toset(["g6.2xlarge", "g5.2xlarge", "g4dn.2xlarge"])
    )
    error_message = "GPUs come from spot, of three types, or on demand when there are none."
  }

  assert {
    condition = [for each in aws_emr_managed_scaling_policy.this[0].compute_limits : [each.unit_type, each.minimum_capacity_units, each.maximum_capacity_units, each.maximum_core_capacity_units, each.maximum_ondemand_capacity_units]] == [
      ["InstanceFleetUnits", 2, 6, 2, 3]
    ]
    error_message = "The least that managed scaling leaves is the core fleet, without GPUs; one GPU may come on demand, when there is none from spot."
  }

  assert {
    condition     = aws_emr_cluster.this[0].core_instance_fleet[0].target_on_demand_capacity == 2 && aws_emr_cluster.this[0].core_instance_fleet[0].target_spot_capacity == 0
    error_message = "Drivers stand on instances that no one takes back."
  }

  # All is encrypted.
  assert {
    condition = (
      jsondecode(aws_emr_security_configuration.this.configuration).EncryptionConfiguration.AtRestEncryptionConfiguration == {
        S3EncryptionConfiguration        = { EncryptionMode = "SSE-KMS", AwsKmsKey = "arn:aws:kms:eu-central-1:123456789012:key/data" }
        LocalDiskEncryptionConfiguration = { EncryptionKeyProviderType = "AwsKms", AwsKmsKey = "arn:aws:kms:eu-central-1:123456789012:key/data", EnableEbsEncryption = true }
      } &&
      jsondecode(aws_emr_security_configuration.this.configuration).EncryptionConfiguration.EnableAtRestEncryption
    )
    error_message = "Disks and objects are encrypted with our key."
  }

  assert {
    condition     = jsondecode(aws_emr_security_configuration.this.configuration).InstanceMetadataServiceConfiguration == { MinimumInstanceMetadataServiceVersion = 2, HttpPutResponseHopLimit = 1 }
    error_message = "Credentials of the instances are had by sessions only, and from the instance itself."
  }

  assert {
    condition     = aws_emr_cluster.this[0].security_configuration == aws_emr_security_configuration.this.name && aws_emr_cluster.this[0].ebs_root_volume_size == 64
    error_message = "The cluster has it, and a root volume that EMR's own packages fit on."
  }

  # No one comes in.
  assert {
    condition = alltrue([
      for each in values(aws_vpc_security_group_ingress_rule.between) :
      each.cidr_ipv4 == null && each.cidr_ipv6 == null && contains([aws_security_group.primary.id, aws_security_group.workers.id, aws_security_group.service[0].id], coalesce(each.referenced_security_group_id, "no group"))
    ])
    error_message = "Instances accept connections only from each other and EMR, from no address."
  }

  assert {
    condition = alltrue([for each in aws_vpc_security_group_egress_rule.https : each.from_port == 443 && each.to_port == 443 && each.ip_protocol == "tcp"]) && alltrue([
      for each in concat(values(aws_vpc_security_group_egress_rule.between), values(aws_vpc_security_group_egress_rule.packages)) : each.cidr_ipv4 == null
    ])
    error_message = "Beyond the network they speak HTTPS, and HTTP with S3 alone."
  }

  assert {
    condition = (
      aws_emr_cluster.this[0].ec2_attributes[0].emr_managed_master_security_group == aws_security_group.primary.id &&
      aws_emr_cluster.this[0].ec2_attributes[0].emr_managed_slave_security_group == aws_security_group.workers.id &&
      aws_emr_cluster.this[0].ec2_attributes[0].service_access_security_group == aws_security_group.service[0].id &&
      aws_emr_cluster.this[0].ec2_attributes[0].key_name == null
    )
    error_message = "The cluster stands behind these groups, and there is no key to log in with."
  }

  # Whatever emr touches bears its tag.
  assert {
    condition = alltrue([
      for tags in [aws_emr_cluster.this[0].tags, aws_security_group.primary.tags, aws_security_group.workers.tags, aws_security_group.service[0].tags, aws_iam_role.service.tags, aws_iam_role.nodes.tags, aws_iam_instance_profile.nodes.tags] :
      tags["for-use-with-amazon-emr-managed-policies"] == "true"
    ])
    error_message = "EMR's service role reaches only what bears the tag."
  }

  # Nodes install what was uploaded.
  assert {
    condition = [for each in aws_emr_cluster.this[0].bootstrap_action : join(" ", concat([each.path], coalesce(each.args, [])))] == [
      "s3://artifacts/releases/1/bootstrap/send_logs.sh --log-group /superres-test/steps --namespace superres-test",
      "s3://artifacts/releases/1/bootstrap/install_fsrcnn.sh --wheel s3://artifacts/releases/1/wheel/superres.whl --wheel-sha256 aa --cpu s3://artifacts/wheelhouses/cpu.tar --cpu-sha256 bb --gpu s3://artifacts/wheelhouses/gpu.tar --gpu-sha256 cc",
      "s3://artifacts/releases/1/bootstrap/enable_gpu_scheduling.sh",
    ]
    error_message = "Each node sends its logs, installs the wheel and wheelhouses of this release, checked by their digests, and makes GPUs known."
  }

  assert {
    condition     = aws_emr_cluster.this[0].log_uri == "s3://logs/emr/" && output.log_uri == "s3://logs/emr/"
    error_message = "Logs go below emr/ in the logs bucket."
  }

  assert {
    condition     = aws_cloudwatch_log_group.steps.name == "/superres-test/steps" && aws_cloudwatch_log_group.steps.retention_in_days == 30 && aws_cloudwatch_log_group.steps.kms_key_id == var.key_arn
    error_message = "And to an encrypted log group that forgets."
  }
}

run "instances_reach_emr_through_an_endpoint" {
  command = apply

  assert {
    condition = [for each in aws_vpc_endpoint.emr : [each.service_name, each.vpc_endpoint_type, each.private_dns_enabled, each.vpc_id, each.subnet_ids, each.security_group_ids]] == [
      ["aws.api.eu-central-1.emr-service-cell01", "Interface", true, "vpc-1", toset(["subnet-1", "subnet-2"]), toset([aws_security_group.service[0].id])]
    ]
    error_message = "EMR Spark 8 is reached by an endpoint in every private subnet, with the service access group and a private name."
  }

  assert {
    condition     = aws_vpc_endpoint.emr[0].tags == tomap({ Name = "emr-service-vpce", "for-use-with-amazon-emr-managed-policies" = "true" })
    error_message = "EMR's service role may change only an endpoint with its tag and this name."
  }

  assert {
    condition = [for each in aws_vpc_security_group_ingress_rule.endpoint : [each.security_group_id, each.cidr_ipv4, each.ip_protocol, each.from_port, each.to_port]] == [
      [aws_security_group.service[0].id, "10.20.0.0/16", "tcp", 443, 443]
    ]
    error_message = "The service access group accepts HTTPS from the network."
  }

  assert {
    condition = { for name, each in aws_vpc_security_group_egress_rule.endpoint : name => [each.security_group_id, each.referenced_security_group_id, each.ip_protocol, each.from_port, each.to_port] } == {
      primary = [aws_security_group.primary.id, aws_security_group.service[0].id, "tcp", 443, 443]
      workers = [aws_security_group.workers.id, aws_security_group.service[0].id, "tcp", 443, 443]
    }
    error_message = "Primary and other instances may speak HTTPS with the endpoint."
  }

  assert {
    condition = alltrue([
      for rules in [aws_vpc_security_group_egress_rule.between, aws_vpc_security_group_ingress_rule.between] : alltrue([for rule in values(rules) : rule.ip_protocol == "-1"])
    ])
    error_message = "Ports 8443 and 9443 are those of EMR 7."
  }

  # Each kind of instance to each, and nothing else at every port.
  assert {
    condition = toset([
      for rule in values(aws_vpc_security_group_ingress_rule.between) : [rule.referenced_security_group_id, rule.security_group_id] if rule.ip_protocol == "-1"
    ]) == toset(setproduct([aws_security_group.primary.id, aws_security_group.workers.id], [aws_security_group.primary.id, aws_security_group.workers.id]))
    error_message = "Only nodes reach nodes at every port."
  }
}

run "emr_7_reaches_its_instances" {
  command = apply

  variables {
    release_label = "emr-7.14.0"
  }

  # The only ports between EMR and an instance of a private cluster; a rule on either side.
  assert {
    condition = alltrue([
      for rules in [aws_vpc_security_group_egress_rule.between, aws_vpc_security_group_ingress_rule.between] :
      { for rule in values(rules) : rule.description => [rule.ip_protocol, rule.from_port, rule.to_port] if rule.ip_protocol != "-1" } == {
        "EMR to primary"          = ["tcp", 8443, 8443]
        "EMR to workers"          = ["tcp", 8443, 8443]
        "Primary instance to EMR" = ["tcp", 9443, 9443]
      }
    ])
    error_message = "EMR 7 connects to primary and other instances at 8443, and the primary to EMR at 9443."
  }

  assert {
    condition     = length(aws_vpc_endpoint.emr) == 0 && length(aws_vpc_security_group_ingress_rule.endpoint) == 0 && length(aws_vpc_security_group_egress_rule.endpoint) == 0
    error_message = "EMR 7 has no endpoint in the network."
  }
}

run "transient" {
  command = apply

  variables {
    cluster_lifecycle = "transient"
  }

  assert {
    condition     = length(aws_emr_cluster.this) == 0 && length(aws_emr_instance_fleet.task) == 0 && length(aws_emr_managed_scaling_policy.this) == 0 && output.cluster_id == null
    error_message = "There is no cluster between executions."
  }

  assert {
    condition     = output.run_job_flow.Instances.KeepJobFlowAliveWhenNoSteps == true && !contains(keys(output.run_job_flow), "Steps")
    error_message = "createCluster wants a cluster that waits for steps."
  }

  assert {
    condition     = !contains(keys(output.run_job_flow.Instances), "UnhealthyNodeReplacement")
    error_message = "Step Functions accepts no state machine with a field that it does not know."
  }

  assert {
    condition     = output.run_job_flow.AutoTerminationPolicy.IdleTimeout == 3600
    error_message = "What the state machine could not terminate terminates itself."
  }

  # The same specification as the persistent one.
  assert {
    condition = (
      output.run_job_flow.ReleaseLabel == run.persistent.cluster.release_label &&
      jsonencode(output.run_job_flow.Configurations) == run.persistent.cluster.configurations_json &&
      output.run_job_flow.SecurityConfiguration == aws_emr_security_configuration.this.name &&
      output.run_job_flow.EbsRootVolumeSize == run.persistent.cluster.ebs_root_volume_size &&
      output.run_job_flow.LogUri == run.persistent.cluster.log_uri &&
      output.run_job_flow.ServiceRole == run.persistent.cluster.service_role &&
      toset([for each in output.run_job_flow.Applications : each.Name]) == run.persistent.cluster.applications &&
      [for each in output.run_job_flow.BootstrapActions : join(" ", concat([each.Name, each.ScriptBootstrapAction.Path], each.ScriptBootstrapAction.Args))] == [for each in run.persistent.cluster.bootstrap_action : join(" ", concat([each.name, each.path], coalesce(each.args, [])))]
    )
    error_message = "Both lifecycles have one specification."
  }

  assert {
    condition = [for each in output.run_job_flow.Instances.InstanceFleets : [each.Name, each.InstanceFleetType, each.TargetOnDemandCapacity, each.TargetSpotCapacity]] == [
      ["primary", "MASTER", 1, 0], ["core", "CORE", 2, 0], ["task", "TASK", 0, 1],
    ]
    error_message = "The fleets are a primary instance, core ones on demand, and GPUs from spot."
  }

  assert {
    condition = { for each in output.run_job_flow.Instances.InstanceFleets : each.Name => alltrue([for type in each.InstanceTypeConfigs : strcontains(jsonencode(type), "yarn.nodemanager.resource-plugins")]) } == {
      primary = false, core = false, task = true
    }
    error_message = "The GPU plugin is configured on the GPU fleet only."
  }

  assert {
    condition     = { for each in output.run_job_flow.Tags : each.Key => each.Value } == { Project = "superres", Environment = "test", Stack = "superres-test", "for-use-with-amazon-emr-managed-policies" = "true" }
    error_message = "A transient cluster has EMR's tag and those of every resource; the state machine's role reaches only clusters with the tag Stack."
  }

  assert {
    condition     = alltrue([for each in output.run_job_flow.Instances.InstanceFleets : can(each.LaunchSpecifications.SpotSpecification) == (each.Name == "task")])
    error_message = "Only GPUs come from spot."
  }

  assert {
    condition = [for each in output.run_job_flow.Instances.InstanceFleets : [each.LaunchSpecifications.SpotSpecification.TimeoutAction, each.LaunchSpecifications.SpotSpecification.TimeoutDurationMinutes] if each.Name == "task"] == [
      ["SWITCH_TO_ON_DEMAND", 15],
    ]
    error_message = "Where there is no spot capacity for a quarter of an hour, an on-demand instance begins."
  }

  assert {
    condition     = output.run_job_flow.Instances.TerminationProtected == false
    error_message = "The state machine must be able to terminate what it made."
  }
}

run "seven_lists_hadoop_too" {
  command = plan

  variables {
    release_label = "emr-7.14.0"
  }

  assert {
    condition     = aws_emr_cluster.this[0].applications == toset(["Hadoop", "Spark"])
    error_message = "Releases 7.x list Hadoop beside Spark."
  }
}

run "without_gpus" {
  command = apply

  variables {
    device = "cpu"
  }

  assert {
    condition     = !strcontains(join(" ", flatten(values(output.steps))), "gpu") && !strcontains(jsonencode(output.run_job_flow), "yarn.io/gpu")
    error_message = "With device cpu nothing asks for a GPU."
  }

  assert {
    condition     = toset([for each in aws_emr_instance_fleet.task[0].instance_type_configs : each.instance_type]) == toset(["m7i.2xlarge", "m6i.2xlarge"]) && contains(output.steps["batch_inference"], "spark.executor.instances=6")
    error_message = "Inference has more instances of the core types."
  }

  assert {
    condition = { for job, arguments in output.steps : job => contains(arguments, "spark.yarn.executor.nodeLabelExpression=CORE") } == {
      mass_split = true, batch_inference = false, mass_reconstruct = true, evaluate = true, fused = false
    }
    error_message = "Inference runs on all instances, the other jobs on core instances."
  }
}

run "a_label_of_an_old_release_is_refused" {
  command = plan

  variables {
    release_label = "emr-6.15.0"
  }

  expect_failures = [var.release_label]
}

run "an_arm_gpu_is_refused" {
  command = plan

  variables {
    gpu = { instance_types = ["g5g.2xlarge"] }
  }

  expect_failures = [var.gpu]
}

run "an_unknown_lifecycle_is_refused" {
  command = plan

  variables {
    cluster_lifecycle = "forever"
  }

  expect_failures = [var.cluster_lifecycle]
}

run "gpus_without_their_wheelhouse_are_refused" {
  command = plan

  variables {
    package = {
      config      = "s3://artifacts/config.yaml"
      jobs        = { for job in ["mass_split", "batch_inference", "mass_reconstruct", "evaluate", "fused"] : job => "s3://artifacts/${job}.py" }
      bootstrap   = { send_logs = "s3://artifacts/c.sh", install_fsrcnn = "s3://artifacts/a.sh", enable_gpu_scheduling = "s3://artifacts/b.sh" }
      wheel       = { uri = "s3://artifacts/w.whl", sha256 = "aa" }
      wheelhouses = { cpu = { uri = "s3://artifacts/cpu.tar", sha256 = "bb" } }
    }
  }

  expect_failures = [var.package]
}

run "in_public_subnets_emr_needs_no_endpoint" {
  command = apply

  variables {
    public_addresses  = true
    cluster_lifecycle = "transient"
  }

  assert {
    condition     = length(aws_vpc_endpoint.emr) == 0 && length(aws_security_group.service) == 0 && !can(output.run_job_flow.Instances.ServiceAccessSecurityGroup)
    error_message = "An endpoint and the service access group are for private subnets only."
  }

  # EMR itself admits its own addresses of AWS to the primary instance, at port 8443.
  assert {
    condition     = alltrue([for each in aws_vpc_security_group_ingress_rule.between : each.cidr_ipv4 == null && each.cidr_ipv6 == null]) && length(aws_vpc_security_group_ingress_rule.endpoint) == 0
    error_message = "No rule of ours admits an address from outside: EMR's block public access would refuse the cluster."
  }
}

run "in_public_subnets_a_persistent_cluster_needs_none_either" {
  command = apply

  variables {
    public_addresses = true
  }

  assert {
    condition     = length(aws_emr_cluster.this) == 1 && length(aws_security_group.service) == 0 && length(aws_vpc_endpoint.emr) == 0
    error_message = "A cluster in a public subnet has no service access group."
  }
}

run "without_task_instances_nothing_is_scaled" {
  command = apply

  variables {
    cluster_lifecycle = "transient"
    device            = "cpu"
    gpu               = { max_instances = 0 }
    core              = { instances = 1, executor = { cores = 3 } }
  }

  assert {
    condition     = [for each in output.run_job_flow.Instances.InstanceFleets : each.Name] == ["primary", "core"] && !can(output.run_job_flow.ManagedScalingPolicy)
    error_message = "There is no fleet beside primary and core, and nothing to scale."
  }

  assert {
    condition     = contains(output.steps["batch_inference"], "spark.executor.instances=1") && contains(output.steps["batch_inference"], "spark.executor.cores=3")
    error_message = "Inference runs on the core instances."
  }
}

run "a_persistent_cluster_without_task_instances_is_not_scaled_either" {
  command = apply

  variables {
    device = "cpu"
    gpu    = { max_instances = 0 }
  }

  assert {
    condition     = length(aws_emr_instance_fleet.task) == 0 && length(aws_emr_managed_scaling_policy.this) == 0 && length(aws_emr_cluster.this) == 1
    error_message = "There is no fleet beside primary and core, and nothing to scale."
  }
}

run "gpus_without_instances_are_refused" {
  command = plan

  variables {
    gpu = { max_instances = 0 }
  }

  expect_failures = [var.gpu]
}

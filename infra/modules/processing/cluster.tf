# The specification of a cluster, in our own form. persistent.tf converts it to the
# arguments of aws_emr_cluster, transient.tf to those of RunJobFlow.

locals {
  # 8.x lists Spark alone, which brings Hadoop with it.
  applications = startswith(var.release_label, "emr-spark-") ? ["Spark"] : ["Hadoop", "Spark"]

  # YARN's GPU plugin wants the first version of the cgroup devices controller, which Amazon Linux
  # 2023 does not mount. bootstrap/enable_gpu_scheduling.sh mounts it at /devices below this folder, on
  # GPU instances; YARN appends /devices itself.
  # https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-spark-rapids.html
  # https://docs.nvidia.com/spark-rapids/user-guide/latest/getting-started/aws-emr.html
  cgroup = "/spark-rapids-cgroup"

  # ---- configurations, for all nodes

  yarn_site = merge(
    {
      # The driver of a job must not run on a task instance, which is spot and is removed when idle.
      # https://docs.aws.amazon.com/emr/latest/ManagementGuide/managed-scaling-allocation-strategy.html
      "yarn.node-labels.enabled"                          = "true"
      "yarn.node-labels.am.default-node-label-expression" = "CORE"
    },
    # Every node must know the name of the GPU resource, or the scheduler accepts no request for it.
    var.device == "cuda" ? { "yarn.resource-types" = "yarn.io/gpu" } : {},
  )

  configurations = concat(
    [
      { Classification = "yarn-site", Properties = local.yarn_site },
      {
        # The default one looks at memory alone: it sees neither GPUs nor cores.
        Classification = "capacity-scheduler"
        Properties     = { "yarn.scheduler.capacity.resource-calculator" = "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator" }
      },
    ],
    [for each in [
      {
        # Read only where the plugin runs, but an instance fleet's own configurations cannot be nested.
        Classification = "container-executor"
        Properties     = {}
        Configurations = [
          { Classification = "gpu", Properties = { "module.enabled" = "true" } },
          { Classification = "cgroups", Properties = { root = local.cgroup, "yarn-hierarchy" = "yarn" } },
        ]
      },
      {
        # Brings CUDA and the script that finds GPUs. spark.plugins stays unset: the SQL plugin would
        # take the GPU's memory.
        Classification = "spark"
        Properties     = { enableSparkRapids = "true" }
      },
    ] : each if var.device == "cuda"],
  )

  # ---- configurations of GPU instances: a NodeManager configured for GPUs does not start without one

  gpu_configurations = [{
    Classification = "yarn-site"
    # The settings of all nodes are repeated, so that it does not matter whether EMR merges them.
    Properties = merge(local.yarn_site, {
      "yarn.nodemanager.resource-plugins"                                   = "yarn.io/gpu"
      "yarn.nodemanager.resource-plugins.gpu.allowed-gpu-devices"           = "auto"
      "yarn.nodemanager.resource-plugins.gpu.path-to-discovery-executables" = "/usr/bin"
      "yarn.nodemanager.container-executor.class"                           = "org.apache.hadoop.yarn.server.nodemanager.LinuxContainerExecutor"
      "yarn.nodemanager.linux-container-executor.cgroups.mount"             = "true"
      "yarn.nodemanager.linux-container-executor.cgroups.mount-path"        = local.cgroup
      "yarn.nodemanager.linux-container-executor.cgroups.hierarchy"         = "yarn"
    })
  }]

  # ---- fleets

  fleets = {
    primary = {
      role           = "MASTER"
      instance_types = var.primary.instance_types
      on_demand      = 1
      spot           = 0
      disk_gigabytes = 100
      configurations = []
    }
    core = {
      role           = "CORE"
      instance_types = var.core.instance_types
      # Drivers and files of running jobs are here, so these instances must not be interrupted.
      on_demand      = var.core.instances
      spot           = 0
      disk_gigabytes = var.core.disk_gigabytes
      configurations = []
    }
    # Where inference runs: GPU instances, or with device cpu more of the core ones.
    task = {
      role           = "TASK"
      instance_types = var.device == "cuda" ? var.gpu.instance_types : var.core.instance_types
      on_demand      = 0
      # A fleet must start with at least one; managed scaling removes it when it stays idle.
      # https://docs.aws.amazon.com/emr/latest/APIReference/API_InstanceFleetConfig.html
      spot           = 1
      disk_gigabytes = var.device == "cuda" ? null : var.core.disk_gigabytes # GPU types have a local disk
      configurations = var.device == "cuda" ? local.gpu_configurations : []
    }
  }

  # With max_instances 0, inference runs on the core instances and nothing is scaled.
  scales      = var.gpu.max_instances > 0
  fleet_names = local.scales ? ["primary", "core", "task"] : ["primary", "core"]

  # Where there is no spot capacity for so long, the fleet begins with an on-demand instance.
  spot_minutes = 15

  # The core fleet stays as it is and the task fleet goes from nothing to its maximum. One on-demand
  # instance beyond the core fleet: without it, no GPU could come in place of spot. EMR uses this limit
  # before spot, so the first instance that is added to an empty task fleet is on-demand.
  # https://docs.aws.amazon.com/emr/latest/ManagementGuide/managed-scaling-allocation-strategy.html
  scaling = {
    minimum   = var.core.instances
    maximum   = var.core.instances + var.gpu.max_instances
    core      = var.core.instances
    on_demand = var.core.instances + 1
  }

  root_gigabytes = 64

  # ---- bootstrap actions, on every node, in this order

  bootstrap_actions = [
    {
      # The first, so that the others' logs are sent too.
      name = "send logs"
      path = var.package.bootstrap.send_logs
      args = ["--log-group", local.log_group_name, "--namespace", var.name]
    },
    {
      name = "install FSRCNN"
      path = var.package.bootstrap.install_fsrcnn
      args = concat(
        ["--wheel", var.package.wheel.uri, "--wheel-sha256", var.package.wheel.sha256],
        flatten([for role in ["cpu", "gpu"] : [
          "--${role}", var.package.wheelhouses[role].uri, "--${role}-sha256", var.package.wheelhouses[role].sha256
        ] if contains(keys(var.package.wheelhouses), role)]),
      )
    },
    {
      name = "enable GPU scheduling"
      path = var.package.bootstrap.enable_gpu_scheduling
      args = []
    },
  ]

  specification = {
    release_label     = var.release_label
    applications      = local.applications
    configurations    = local.configurations
    fleets            = local.fleets
    bootstrap_actions = local.bootstrap_actions
    root_gigabytes    = local.root_gigabytes
  }
}

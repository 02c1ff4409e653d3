# How each job is submitted, with all of its Spark configuration. A step is these arguments and
# then --run-id and the like (jobs/job.py).

locals {
  venv_python = "/mnt/superres/venv/bin/python" # made by bootstrap/install_fsrcnn.sh on every node

  job_conf = {
    "spark.pyspark.python"                       = local.venv_python
    "spark.pyspark.driver.python"                = local.venv_python
    "spark.yarn.appMasterEnv.PYSPARK_PYTHON"     = local.venv_python
    "spark.yarn.appMasterEnv.AWS_DEFAULT_REGION" = local.region
    "spark.executorEnv.AWS_DEFAULT_REGION"       = local.region
    "spark.driver.memory"                        = var.driver.memory
    "spark.driver.memoryOverhead"                = var.driver.overhead
    # A failed job would fail again, or spend hours on tasks that have already been retried.
    "spark.yarn.maxAppAttempts" = "1"
  }

  # One executor on each instance and no more.
  fixed_conf = {
    "spark.dynamicAllocation.enabled" = "false"
    "spark.executor.instances"        = tostring(var.core.instances)
    "spark.executor.cores"            = tostring(var.core.executor.cores)
    "spark.executor.memory"           = var.core.executor.memory
    "spark.executor.memoryOverhead"   = var.core.executor.overhead
    # Images are assigned before all executors have started.
    "spark.default.parallelism" = tostring(var.core.instances * var.core.executor.cores)
  }

  # On core instances alone: elsewhere they could take the room on a GPU instance, which is spot too, and
  # containers that wait for room would make managed scaling add GPU instances for them. By default, EMR
  # gives only application masters a label.
  # https://spark.apache.org/docs/latest/running-on-yarn.html (spark.yarn.executor.nodeLabelExpression)
  # https://docs.aws.amazon.com/emr/latest/ManagementGuide/managed-scaling-allocation-strategy.html
  cpu_conf = merge(local.fixed_conf, { "spark.yarn.executor.nodeLabelExpression" = "CORE" })

  # One executor with the one GPU of each GPU instance; they are added while there is work.
  gpu_conf = {
    "spark.dynamicAllocation.enabled"             = "true"
    "spark.dynamicAllocation.minExecutors"        = "1"
    "spark.dynamicAllocation.maxExecutors"        = tostring(var.gpu.max_instances)
    "spark.executor.cores"                        = tostring(var.gpu.executor.cores)
    "spark.executor.memory"                       = var.gpu.executor.memory
    "spark.executor.memoryOverhead"               = var.gpu.executor.overhead
    "spark.executor.resource.gpu.amount"          = "1"
    "spark.executor.resource.gpu.discoveryScript" = "/usr/lib/spark/scripts/gpu/getGpusResources.sh"
    "spark.task.resource.gpu.amount"              = format("%.3f", floor(1000 / var.gpu.executor.cores) / 1000)
    # NVIDIA's recipe for EMR: they stall the transfer of memory to the GPU.
    "spark.executor.extraJavaOptions" = "-XX:-UseTransparentHugePages"
  }

  # Without GPUs, inference has an executor on each instance that there may be.
  wide_conf = merge(local.fixed_conf, { "spark.executor.instances" = tostring(local.scaling.maximum) })

  inference_conf = var.device == "cuda" ? local.gpu_conf : local.wide_conf

  job_confs = {
    mass_split       = local.cpu_conf
    batch_inference  = local.inference_conf
    mass_reconstruct = local.cpu_conf
    evaluate         = local.cpu_conf
    # All in one stage, and that stage infers. Not part of the state machine.
    fused = local.inference_conf
  }

  steps = {
    for job, conf in local.job_confs : job => concat(
      ["spark-submit", "--deploy-mode", "cluster"],
      flatten([for key, value in merge(local.job_conf, conf) : ["--conf", "${key}=${value}"]]),
      [var.package.jobs[job], "--config", var.package.config],
    )
  }
}

# One dashboard in CloudWatch that answers three questions from top to bottom: does it work, is it slow,
# what does it cost.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html

locals {
  # The persistent cluster has one id; those of transient ones are not known before they exist, so they are
  # searched for, which finds other EMR clusters of the account and region too.
  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/search-expression-syntax.html
  # By way of JSON, since the two are of different types.
  emr = {
    for metric in ["ContainerPending", "CoreUnitsRunning", "TaskUnitsRunning", "TaskUnitsRequested"] :
    metric => jsondecode(var.cluster == null ? jsonencode([{
      expression = "SEARCH('{AWS/ElasticMapReduce,JobFlowId} MetricName=\"${metric}\"', 'Average', 300)"
      label      = "${metric} $${PROP('Dim.JobFlowId')}"
    }]) : jsonencode(["AWS/ElasticMapReduce", metric, "JobFlowId", var.cluster.id]))
  }

  questions = [
    {
      question = "Does it work?"
      widgets = [
        {
          title = "Images finished an hour"
          stat  = "Sum", period = 3600
          # The queue gets a message for each evaluation, the record that is written last.
          metrics = [["AWS/SQS", "NumberOfMessagesSent", "QueueName", var.queues["evaluations"]]]
        },
        {
          title   = "Runs"
          stat    = "Sum", period = 3600
          metrics = [for state in ["Started", "Succeeded", "Failed", "TimedOut", "Aborted"] : ["AWS/States", "Executions${state}", "StateMachineArn", var.state_machine_arn]]
        },
        {
          title   = "Messages that could not be processed"
          stat    = "Maximum", period = 300
          metrics = [for queue in values(var.dead_letter_queues) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue]]
        },
        {
          title   = "Instances that answer"
          stat    = "Minimum", period = 60
          metrics = [for group in values(var.target_groups) : ["AWS/ApplicationELB", "HealthyHostCount", "TargetGroup", group, "LoadBalancer", var.load_balancer]]
        },
        {
          title = "Requests, and answers that are errors"
          stat  = "Sum", period = 300
          metrics = [
            for metric in ["RequestCount", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"] :
            ["AWS/ApplicationELB", metric, "LoadBalancer", var.load_balancer] if var.load_balancer != null
          ]
        },
      ]
    },
    {
      question = "Is it slow?"
      widgets = [
        {
          title = "Minutes that a run takes"
          stat  = "Maximum", period = 3600
          metrics = [
            [{ expression = "milliseconds / 60000", label = "minutes" }],
            ["AWS/States", "ExecutionTime", "StateMachineArn", var.state_machine_arn, { id = "milliseconds", visible = false }],
          ]
        },
        {
          title   = "Containers of Spark that wait for room: for a GPU, while inference runs"
          stat    = "Average", period = 300
          metrics = [local.emr["ContainerPending"]]
        },
        {
          title   = "How busy GPUs are, percent"
          stat    = "Average", period = 60
          metrics = var.gpus ? [[{ expression = "SEARCH('Namespace=\"${var.name}\" MetricName=\"nvidia_smi_utilization_gpu\"', 'Average', 60)", label = "$${PROP('Dim.host')}" }]] : []
        },
        {
          title   = "References that wait to be fetched"
          stat    = "Maximum", period = 60
          metrics = [for lag in local.lags : concat(["AWS/Kafka", "SumOffsetLag"], flatten([for name, value in lag : [name, value]]))]
        },
        {
          title   = "Age of the oldest message, seconds"
          stat    = "Maximum", period = 60
          metrics = [for queue in values(var.queues) : ["AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue]]
        },
        {
          title   = "Seconds that nine of ten answers take at most"
          stat    = "p90", period = 300
          metrics = [for group in values(var.target_groups) : ["AWS/ApplicationELB", "TargetResponseTime", "TargetGroup", group, "LoadBalancer", var.load_balancer]]
        },
      ]
    },
    {
      question = "What does it cost?"
      widgets = [
        {
          title   = "Instances of EMR: core, and those that infer, as they are and as they were asked for"
          stat    = "Average", period = 300
          metrics = [for metric in ["CoreUnitsRunning", "TaskUnitsRunning", "TaskUnitsRequested"] : local.emr[metric]]
        },
        {
          title   = "Bytes in S3"
          stat    = "Average", period = 86400
          metrics = [for bucket in values(var.buckets) : ["AWS/S3", "BucketSizeBytes", "StorageType", "StandardStorage", "BucketName", bucket]]
        },
        {
          title   = "Bytes of logs taken in a day"
          stat    = "Sum", period = 86400
          metrics = [for group in values(var.log_groups) : ["AWS/Logs", "IncomingBytes", "LogGroupName", group]]
        },
      ]
    },
  ]

  # What an environment does not have has no metrics, and no widget.
  sections = [for section in local.questions : merge(section, { widgets = [for widget in section.widgets : widget if length(widget.metrics) > 0] })]

  # A line for the question and, for each two widgets, six more.
  heights       = [for section in local.sections : 1 + 6 * ceil(length(section.widgets) / 2)]
  alarms_height = 3

  # Where a section begins: below the alarms and the sections before it.
  tops = [for number, _ in local.sections : local.alarms_height + sum(concat([0], slice(local.heights, 0, number)))]

  alarm_arns = sort([for name in local.alarm_names : "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${name}"])
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type       = "alarm"
        x          = 0, y = 0, width = 24, height = local.alarms_height
        properties = { title = "Alarms", alarms = local.alarm_arns }
      }],
      [for number, section in local.sections : {
        type       = "text"
        x          = 0, y = local.tops[number], width = 24, height = 1
        properties = { markdown = "## ${section.question}" }
      }],
      flatten([for number, section in local.sections : [
        for place, widget in section.widgets : {
          type   = "metric"
          x      = place % 2 * 12
          y      = local.tops[number] + 1 + floor(place / 2) * 6
          width  = 12
          height = 6
          properties = {
            title   = widget.title
            region  = local.region
            view    = "timeSeries"
            stat    = widget.stat
            period  = widget.period
            metrics = widget.metrics
            yAxis   = { left = { min = 0 } }
          }
        }
      ]]),
    )
  })
}

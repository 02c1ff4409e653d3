# The most important metrics in one CloudWatch dashboard.

locals {
  # What an environment does not have has no metrics, and no widget.
  widgets = [for widget in local.all_widgets : widget if length(widget.metrics) > 0]

  all_widgets = [
    {
      title = "Images finished an hour"
      stat  = "Sum", period = 3600
      metrics = [
        # The queue gets a message for each evaluation, the record that is written last.
        ["AWS/SQS", "NumberOfMessagesSent", "QueueName", var.queues["evaluations"]],
      ]
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
      title   = "Messages that could not be processed"
      stat    = "Maximum", period = 300
      metrics = [for queue in values(var.dead_letter_queues) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", queue]]
    },
    {
      title   = "Runs"
      stat    = "Sum", period = 3600
      metrics = [for state in ["Started", "Succeeded", "Failed", "TimedOut", "Aborted"] : ["AWS/States", "Executions${state}", "StateMachineArn", var.state_machine_arn]]
    },
    {
      title   = "Milliseconds that a run takes"
      stat    = "Maximum", period = 3600
      metrics = [["AWS/States", "ExecutionTime", "StateMachineArn", var.state_machine_arn]]
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
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name

  dashboard_body = jsonencode({
    widgets = [
      for number, widget in local.widgets : {
        type   = "metric"
        x      = number % 2 * 12
        y      = floor(number / 2) * 6
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
    ]
  })
}

# Alarms, their topic, and a budget.
# dashboard.tf draws how things stand.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  # Built from names, not read from resources, so that a plan shows complete policies.
  topic_name = "${var.name}-alarms"
  topic_arn  = "arn:${local.partition}:sns:${local.region}:${local.account}:${local.topic_name}"
}

# ---- where alarms go

resource "aws_sns_topic" "alarms" {
  name              = local.topic_name
  kms_master_key_id = var.key_arn
}

data "aws_iam_policy_document" "topic" {
  statement {
    sid       = "AllowAlarms"
    actions   = ["sns:Publish"]
    resources = [local.topic_arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.name}-*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }

  # https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-sns-policy.html
  statement {
    sid       = "AllowBudget"
    actions   = ["sns:Publish"]
    resources = [local.topic_arn]

    principals {
      type        = "Service"
      identifiers = ["budgets.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${local.partition}:budgets::${local.account}:*"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.topic.json
}

# Whoever it is has to confirm by a link that AWS sends them.
resource "aws_sns_topic_subscription" "email" {
  count = var.email == null ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.email
}

# ---- alarms

locals {
  # Each with what is wrong; docs/operations.md has the remedies. Missing data is well where it
  # means that nothing happened, and not where something must be happening.
  alarms = merge(
    { for name, queue in var.queues : "queue-age-${name}" => {
      what       = "The oldest message of ${queue} has waited for a quarter of an hour: the notifier is down, or does not keep up"
      namespace  = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", statistic = "Maximum"
      dimensions = { QueueName = queue }
      above      = 900, period = 300, periods = 1, missing = "notBreaching"
    } },
    { for name, queue in var.dead_letter_queues : "dead-letters-${name}" => {
      what       = "${queue} contains messages that could not be processed"
      namespace  = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", statistic = "Maximum"
      dimensions = { QueueName = queue }
      above      = 0, period = 300, periods = 1, missing = "notBreaching"
    } },
    { for state, words in { Failed = "failed", Aborted = "was stopped" } : "run-${lower(state)}" => {
      what                         = "A run ${words}"
      namespace                    = "AWS/States", metric = "Executions${state}", statistic = "Sum"
      dimensions                   = { StateMachineArn = var.state_machine_arn }
      above                        = 0, period = 300, periods = 1, missing = "notBreaching"
    } },
    {
      # Their number, not their age: that is an estimate from the pace, and there is none once the
      # consumers have stopped.
      for lag in local.lags : "consumer-lag" => {
        what       = "For half an hour more than ${var.lag_messages} references have waited to be fetched"
        namespace  = "AWS/Kafka", metric = "SumOffsetLag", statistic = "Minimum"
        dimensions = lag
        above      = var.lag_messages, period = 300, periods = 6, missing = "notBreaching"
      }
    },
  )

  lags = [for kafka in var.kafka[*] : {
    "Cluster Name"   = kafka.cluster_name
    "Consumer Group" = kafka.group
    Topic            = kafka.topic
  }]
}

resource "aws_cloudwatch_metric_alarm" "above" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.what
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  period              = each.value.period
  evaluation_periods  = each.value.periods
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

locals {
  shortages = merge(
    { for name, group in var.target_groups : "no-healthy-${name}" => {
      what       = "No instance answers for ${name}"
      namespace  = "AWS/ApplicationELB", metric = "HealthyHostCount"
      statistic  = "Maximum"
      dimensions = { LoadBalancer = var.load_balancer, TargetGroup = group }
      below      = 1, period = 60, periods = 5
    } },
    var.database == null ? {} : {
      "database-full" = {
        what       = "The notifier's database has less than 2 GiB left and grows no more by itself"
        namespace  = "AWS/RDS", metric = "FreeStorageSpace"
        statistic  = "Minimum"
        dimensions = { DBInstanceIdentifier = var.database }
        below      = 2 * 1024 * 1024 * 1024, period = 300, periods = 3
      }
    },
    !var.scheduled ? {} : {
      "no-runs" = {
        what       = "No run was begun for a day: the schedule does not start any"
        namespace  = "AWS/States", metric = "ExecutionsStarted"
        statistic  = "Sum"
        dimensions = { StateMachineArn = var.state_machine_arn }
        below      = 1, period = 86400, periods = 1
      }
    },
  )
}

# Inference waits, and there is not one instance for it. A job gives up by itself
# (processing.gpu_wait_seconds); this notifies someone, whatever keeps it from doing so. Only of a persistent
# cluster: the id of a transient one is not known before it exists.
# https://docs.aws.amazon.com/emr/latest/ManagementGuide/managed-scaling-metrics.html
resource "aws_cloudwatch_metric_alarm" "no_capacity" {
  count = var.cluster == null ? 0 : 1

  alarm_name          = "${var.name}-no-capacity"
  alarm_description   = "For half an hour Spark has waited for room while no instance for inference runs: there is no capacity or quota for its types, or their bootstrap fails"
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 6
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]

  metric_query {
    id          = "stranded"
    label       = "Containers that wait while no instance runs"
    expression  = "IF(FILL(running, 0) < 1, waiting, 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { waiting = "ContainerPending", running = "TaskUnitsRunning" }

    content {
      id = metric_query.key

      metric {
        namespace   = "AWS/ElasticMapReduce"
        metric_name = metric_query.value
        dimensions  = { JobFlowId = var.cluster.id }
        period      = 300
        stat        = "Minimum"
      }
    }
  }
}

# There must always be some of these, so missing data counts as none.
resource "aws_cloudwatch_metric_alarm" "below" {
  for_each = local.shortages

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.what
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = "LessThanThreshold"
  threshold           = each.value.below
  period              = each.value.period
  evaluation_periods  = each.value.periods
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

locals {
  # Known before the alarms are made.
  alarm_names = sort([for name in concat(keys(local.alarms), keys(local.shortages), var.cluster == null ? [] : ["no-capacity"]) : "${var.name}-${name}"])
}

# ---- what it costs

# Counts what bears the tag, once it was activated for billing: by hand, since only the account that
# pays may do so, and only a day after the first resource bore it.
resource "aws_budgets_budget" "monthly" {
  count = var.budget_dollars == null ? 0 : 1

  name         = "${var.name}-monthly"
  budget_type  = "COST"
  time_unit    = "MONTHLY"
  limit_unit   = "USD"
  limit_amount = tostring(var.budget_dollars)

  cost_filter {
    name   = "TagKeyValue"
    values = [format("user:Stack$%s", var.name)]
  }

  # Four fifths spent, and: it will be more than all of it by the end of the month.
  dynamic "notification" {
    for_each = { ACTUAL = 80, FORECASTED = 100 }

    content {
      notification_type         = notification.key
      comparison_operator       = "GREATER_THAN"
      threshold                 = notification.value
      threshold_type            = "PERCENTAGE"
      subscriber_sns_topic_arns = [aws_sns_topic.alarms.arn]
    }
  }

  # A new budget checks at once whether it may publish.
  depends_on = [aws_sns_topic_policy.alarms]
}

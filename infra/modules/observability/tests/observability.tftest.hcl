mock_provider "aws" {
  source = "../../tests/mocks"

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:superres-test-alarms" }
  }
}

variables {
  name               = "superres-test"
  key_arn            = "arn:aws:kms:eu-central-1:123456789012:key/data"
  email              = "someone@example.org"
  queues             = { evaluations = "superres-test-evaluations", run-status = "superres-test-run-status" }
  dead_letter_queues = { evaluations = "superres-test-evaluations-dead-letters", run-status = "superres-test-run-status-dead-letters" }
  state_machine_arn  = "arn:aws:states:eu-central-1:123456789012:stateMachine:superres-test-pipeline"
  scheduled          = true
  kafka              = { cluster_name = "superres-test", topic = "images-topic", group = "superres-consumer" }
  load_balancer      = "app/superres-test/1"
  target_groups      = { page = "targetgroup/superres-test-page/1", upload = "targetgroup/superres-test-upload/1" }
  database           = "superres-test-notifier"
  budget_dollars     = 300
  cluster            = { id = "j-1" }
  gpus               = true
  buckets            = { raw = "superres-test-raw", results = "superres-test-results" }
  log_groups         = { steps = "/superres-test/steps" }
}

run "someone_is_told" {
  command = apply

  # There is an alarm for each promise.
  assert {
    condition = toset(output.alarm_names) == toset([
      for name in [
        "queue-age-evaluations", "queue-age-run-status", "dead-letters-evaluations", "dead-letters-run-status", "consumer-lag",
        "run-failed", "run-aborted", "no-healthy-page", "no-healthy-upload", "database-full", "no-runs", "no-capacity",
      ] : "superres-test-${name}"
    ])
    error_message = "Queues, dead letters, lag, failed runs, missing runs, missing instances and a full disk each have an alarm."
  }

  assert {
    condition = alltrue([
      for each in concat(values(aws_cloudwatch_metric_alarm.above), values(aws_cloudwatch_metric_alarm.below), aws_cloudwatch_metric_alarm.no_capacity) :
      toset(each.alarm_actions) == toset([aws_sns_topic.alarms.arn]) && toset(each.ok_actions) == toset([aws_sns_topic.alarms.arn]) && each.alarm_description != ""
    ])
    error_message = "Each alarm notifies the topic when it starts and when it ends."
  }

  assert {
    condition = alltrue([
      for name, queue in var.dead_letter_queues :
      aws_cloudwatch_metric_alarm.above["dead-letters-${name}"].dimensions == tomap({ QueueName = queue }) &&
      aws_cloudwatch_metric_alarm.above["dead-letters-${name}"].threshold == 0 &&
      aws_cloudwatch_metric_alarm.above["dead-letters-${name}"].comparison_operator == "GreaterThanThreshold"
    ])
    error_message = "A single dead letter in any queue raises an alarm."
  }

  assert {
    condition     = toset([for each in aws_cloudwatch_metric_alarm.above : each.metric_name if each.namespace == "AWS/States"]) == toset(["ExecutionsFailed", "ExecutionsAborted"])
    error_message = "Every failed run raises an alarm."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.above["consumer-lag"].dimensions == tomap({ "Cluster Name" = "superres-test", "Consumer Group" = "superres-consumer", Topic = "images-topic" })
    error_message = "The lag is our group's."
  }

  assert {
    condition     = alltrue([for each in aws_cloudwatch_metric_alarm.below : each.treat_missing_data == "breaching" && each.comparison_operator == "LessThanThreshold"])
    error_message = "Instances of which nothing is heard are as bad as none."
  }

  assert {
    condition = { for each in aws_cloudwatch_metric_alarm.no_capacity[0].metric_query : each.id => try([each.metric[0].metric_name, each.metric[0].dimensions["JobFlowId"]], [each.expression]) } == {
      stranded = ["IF(FILL(running, 0) < 1, waiting, 0)"]
      waiting  = ["ContainerPending", "j-1"]
      running  = ["TaskUnitsRunning", "j-1"]
    }
    error_message = "Containers that wait raise an alarm only while no instance of the cluster infers."
  }

  # The topic.
  assert {
    condition     = aws_sns_topic.alarms.kms_master_key_id == var.key_arn && aws_sns_topic_subscription.email[0].endpoint == "someone@example.org"
    error_message = "Alarms are encrypted, and go to whom is named."
  }

  # The budget.
  assert {
    condition     = aws_budgets_budget.monthly[0].limit_amount == "300" && aws_budgets_budget.monthly[0].time_unit == "MONTHLY" && tolist(tolist(aws_budgets_budget.monthly[0].cost_filter)[0].values) == tolist(["user:Stack$superres-test"])
    error_message = "The budget counts what bears this environment's tag, by the month."
  }

  assert {
    condition     = { for each in aws_budgets_budget.monthly[0].notification : each.notification_type => [each.threshold, one(each.subscriber_sns_topic_arns)] } == { ACTUAL = [80, aws_sns_topic.alarms.arn], FORECASTED = [100, aws_sns_topic.alarms.arn] }
    error_message = "It notifies at four fifths spent, and of the forecast."
  }

  # The dashboard.
  assert {
    condition = alltrue([
      for metric in ["NumberOfMessagesSent", "SumOffsetLag", "ApproximateAgeOfOldestMessage", "ExecutionsFailed", "HealthyHostCount", "ContainerPending", "TaskUnitsRunning", "BucketSizeBytes", "IncomingBytes"] :
      strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "\"${metric}\"")
    ])
    error_message = "Images, lag, queues, runs, instances, waiting containers and what is billed are drawn."
  }

  assert {
    condition     = [for each in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : each.properties.markdown if each.type == "text"] == ["## Does it work?", "## Is it slow?", "## What does it cost?"]
    error_message = "It answers three questions, in this order."
  }

  assert {
    condition     = [for each in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : each.properties.alarms if each.type == "alarm"] == [[for name in output.alarm_names : "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:${name}"]]
    error_message = "It begins with the state of every alarm."
  }

  # A cell is one column of one row of the grid, 24 columns wide.
  assert {
    condition = length(distinct(flatten([
      for each in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for row in range(each.y, each.y + each.height) : [for column in range(each.x, each.x + each.width) : "${row} ${column}"]]
      ]))) == sum([for each in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : each.width * each.height]) && alltrue([
      for each in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : each.x + each.width <= 24
    ])
    error_message = "No widget covers another or leaves the grid."
  }
}

run "what_is_not_there_is_not_watched" {
  command = apply

  variables {
    email          = null
    database       = null
    budget_dollars = null
    scheduled      = false
    cluster        = null
    gpus           = false
  }

  assert {
    condition = (
      length(aws_cloudwatch_metric_alarm.no_capacity) == 0 && !strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "nvidia_smi") &&
      strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "SEARCH('{AWS/ElasticMapReduce,JobFlowId} MetricName=\\\"ContainerPending\\\"', 'Average', 300)")
    )
    error_message = "Transient clusters have no alarm, and are searched for by the dashboard; without GPUs none is drawn."
  }

  assert {
    condition     = toset(keys(aws_cloudwatch_metric_alarm.below)) == toset(["no-healthy-page", "no-healthy-upload"]) && length(aws_budgets_budget.monthly) == 0 && length(aws_sns_topic_subscription.email) == 0
    error_message = "Without a database, a schedule, a budget or an address there is no alarm for it."
  }
}

run "an_address_with_a_slip_is_refused" {
  command = plan

  variables {
    email = "someone"
  }

  expect_failures = [var.email]
}

run "a_budget_of_nothing_is_refused" {
  command = plan

  variables {
    budget_dollars = 0
  }

  expect_failures = [var.budget_dollars]
}

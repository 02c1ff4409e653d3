# The real provider renders the policies, from names alone. A plan of what is new asks AWS nothing.
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  name               = "superres-test"
  key_arn            = "arn:aws:kms:eu-central-1:123456789012:key/data"
  queues             = { evaluations = "superres-test-evaluations" }
  dead_letter_queues = {}
  state_machine_arn  = "arn:aws:states:eu-central-1:123456789012:stateMachine:superres-test-pipeline"
  scheduled          = false
  kafka              = { cluster_name = "superres-test", topic = "images-topic", group = "superres-consumer" }
  load_balancer      = "app/superres-test/1"
  target_groups      = {}
  gpus               = false
  buckets            = {}
  log_groups         = {}
}

run "policies" {
  command = plan

  assert {
    condition = jsondecode(aws_sns_topic_policy.alarms.policy).Statement == [
      {
        Sid       = "AllowAlarms"
        Effect    = "Allow"
        Action    = "sns:Publish"
        Resource  = "arn:aws:sns:eu-central-1:123456789012:superres-test-alarms"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Condition = {
          ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:superres-test-*" }
          StringEquals = { "aws:SourceAccount" = "123456789012" }
        }
      },
      {
        Sid       = "AllowBudget"
        Effect    = "Allow"
        Action    = "sns:Publish"
        Resource  = "arn:aws:sns:eu-central-1:123456789012:superres-test-alarms"
        Principal = { Service = "budgets.amazonaws.com" }
        Condition = {
          ArnLike      = { "aws:SourceArn" = "arn:aws:budgets::123456789012:*" }
          StringEquals = { "aws:SourceAccount" = "123456789012" }
        }
      },
    ]
    error_message = "This project's alarms and this account's budgets may publish, and no one else."
  }

  # The key's policy knows topics by these names, the topic's policy knows alarms by these.
  assert {
    condition     = aws_sns_topic.alarms.name == "superres-test-alarms" && alltrue([for name in output.alarm_names : startswith(name, "superres-test-")])
    error_message = "Names begin with name, or the policies let nothing through."
  }
}

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

override_data {
  target = module.evaluations.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_resource {
  target          = aws_kms_key.data
  override_during = plan
  values          = { arn = "arn:aws:kms:eu-central-1:123456789012:key/data" }
}

variables {
  name = "superres-test"
}

run "policies" {
  command = plan

  # The key lets events of results through.
  assert {
    condition = [for each in jsondecode(aws_kms_key_policy.data.policy).Statement : each if each.Sid == "S3EventsToQueues"] == [{
      Sid       = "S3EventsToQueues"
      Effect    = "Allow"
      Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource  = "*"
      Principal = { Service = "s3.amazonaws.com" }
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:s3:::superres-test-results-123456789012-eu-central-1" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "S3 must be able to encrypt a message for this bucket's events, or they vanish silently."
  }

  assert {
    condition = [for each in jsondecode(aws_kms_key_policy.data.policy).Statement : each if each.Sid == "EventBridgeToQueues"] == [{
      Sid       = "EventBridgeToQueues"
      Effect    = "Allow"
      Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource  = "*"
      Principal = { Service = "events.amazonaws.com" }
      Condition = {
        ArnLike      = { "aws:SourceArn" = "arn:aws:events:eu-central-1:123456789012:rule/superres-test-*" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "EventBridge must be able to encrypt a message for this project's rules."
  }

  # The key lets alarms through.
  assert {
    condition = [for each in jsondecode(aws_kms_key_policy.data.policy).Statement : merge(each, { Principal = toset(flatten([each.Principal.Service])) }) if each.Sid == "AlarmsToTopics"] == [{
      Sid       = "AlarmsToTopics"
      Effect    = "Allow"
      Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
      Resource  = "*"
      Principal = toset(["cloudwatch.amazonaws.com", "budgets.amazonaws.com"])
      Condition = {
        ArnLike = { "kms:EncryptionContext:aws:sns:topicArn" = "arn:aws:sns:eu-central-1:123456789012:superres-test-*" }
      }
    }]
    error_message = "CloudWatch and Budgets must be able to encrypt for this project's topics, or alarms vanish silently."
  }

  # The key is for this account and services on its behalf.
  assert {
    condition = alltrue([
      for each in jsondecode(aws_kms_key_policy.data.policy).Statement :
      each.Principal == { AWS = "arn:aws:iam::123456789012:root" } || (can(each.Principal.Service) && can(each.Condition)) || (
        try(each.Condition.StringEquals["kms:CallerAccount"], "") == "123456789012" && try(each.Condition.StringEquals["kms:ViaService"], "") == "ec2.eu-central-1.amazonaws.com"
      )
    ])
    error_message = "No one outside the account; a service only under a condition; everyone in the account for disks, through EC2."
  }

  assert {
    condition = alltrue([
      for each in jsondecode(aws_kms_key_policy.data.policy).Statement :
      !contains(flatten([each.Action]), "kms:*") if can(each.Principal.Service)
    ])
    error_message = "No service may do everything with the key."
  }

  # The queue takes events of results alone.
  assert {
    condition = [for each in jsondecode(output.evaluations_policy).Statement : each if each.Effect == "Allow"] == [{
      Sid       = "AllowEventsOfResults"
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:eu-central-1:123456789012:superres-test-evaluations"
      Principal = { Service = "s3.amazonaws.com" }
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:s3:::superres-test-results-123456789012-eu-central-1" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "The queue must let S3 send the events of results, and nothing else."
  }

  # Every bucket refuses http and old tls.
  assert {
    condition     = toset(keys(aws_s3_bucket_policy.this)) == toset(["raw", "work", "results", "artifacts", "logs"])
    error_message = "Every bucket has a policy."
  }

  assert {
    condition = alltrue([
      for name, each in aws_s3_bucket_policy.this : [
        for statement in jsondecode(each.policy).Statement : statement.Resource
        if statement.Effect == "Deny" && statement.Action == "s3:*" && try(statement.Condition.Bool["aws:SecureTransport"], "") == "false"
        ] == [[
          "arn:aws:s3:::superres-test-${name}-123456789012-eu-central-1/*",
          "arn:aws:s3:::superres-test-${name}-123456789012-eu-central-1",
      ]]
    ])
    error_message = "Requests without TLS must be denied, to the bucket and to its objects."
  }

  assert {
    condition = alltrue([
      for each in aws_s3_bucket_policy.this : anytrue([
        for statement in jsondecode(each.policy).Statement :
        statement.Effect == "Deny" && try(statement.Condition.NumericLessThan["s3:TlsVersion"], "") == "1.2"
      ])
    ])
    error_message = "TLS before 1.2 must be denied."
  }

  # No bucket policy gives access but for logs.
  assert {
    condition = alltrue(flatten([
      for name, each in aws_s3_bucket_policy.this : [
        for statement in jsondecode(each.policy).Statement :
        name == "logs" && can(statement.Principal.Service) && (
          try(statement.Condition.StringEquals["aws:SourceAccount"], "") == "123456789012" || endswith(statement.Resource, "/balancer/AWSLogs/123456789012/*")
        )
        if statement.Effect != "Deny"
      ]
    ]))
    error_message = "Access is given by IAM; only services of AWS that deliver this account's logs need a bucket policy."
  }

  assert {
    condition = toset(flatten([
      for statement in jsondecode(aws_s3_bucket_policy.this["logs"].policy).Statement : [statement.Principal.Service, statement.Action, statement.Resource] if statement.Effect == "Allow"
      ])) == toset([
      "logging.s3.amazonaws.com", "s3:PutObject", "arn:aws:s3:::superres-test-logs-123456789012-eu-central-1/access/*",
      "delivery.logs.amazonaws.com", "arn:aws:s3:::superres-test-logs-123456789012-eu-central-1/network/*",
      "s3:GetBucketAcl", "arn:aws:s3:::superres-test-logs-123456789012-eu-central-1",
      "logdelivery.elasticloadbalancing.amazonaws.com", "arn:aws:s3:::superres-test-logs-123456789012-eu-central-1/balancer/AWSLogs/123456789012/*",
    ])
    error_message = "Access logs go below access/, flow logs below network/, the load balancer's below balancer/."
  }
}

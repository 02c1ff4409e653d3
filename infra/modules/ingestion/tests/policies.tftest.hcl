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
  target = module.service.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.service.data.aws_ssm_parameter.image
  values = { value = "ami-1" }
}

variables {
  name          = "superres-test"
  vpc_id        = "vpc-1"
  subnet_ids    = ["subnet-1", "subnet-2"]
  target        = { group_arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/upload/1", port = 8081, balancer_security_group_id = "sg-balancer" }
  buckets       = { raw = "raw", results = "results", artifacts = "artifacts" }
  key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/data"
  instance_type = "t3.medium"
  instances     = 1
  kafka = {
    cluster_arn       = "arn:aws:kafka:eu-central-1:123456789012:cluster/superres-test/1"
    security_group_id = "sg-kafka"
    policy            = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"Connect\",\"Effect\":\"Allow\",\"Action\":\"kafka-cluster:Connect\",\"Resource\":\"arn:aws:kafka:eu-central-1:123456789012:cluster/superres-test/*\"}]}"
  }
  files = {
    wheel      = { key = "releases/1/wheel", sha256 = "1111111111111111111111111111111111111111111111111111111111111111" }
    wheelhouse = { key = "wheelhouses/2", sha256 = "2222222222222222222222222222222222222222222222222222222222222222" }
    config     = { key = "releases/1/config", sha256 = "3333333333333333333333333333333333333333333333333333333333333333" }
  }
}

run "ingestion_may_do_what_it_does_and_no_more" {
  command = plan

  assert {
    condition = { for each in jsondecode(output.policy).Statement : each.Sid => [toset(flatten([each.Action])), toset(flatten([each.Resource]))] if !contains(["Release", "Decrypt", "Encrypt", "SendLogs", "Sessions", "ReportToSystemsManager"], each.Sid) } == {
      Connect          = [toset(["kafka-cluster:Connect"]), toset(["arn:aws:kafka:eu-central-1:123456789012:cluster/superres-test/*"])]
      ReadUploads      = [toset(["s3:GetObject"]), toset(["arn:aws:s3:::raw/uploads/*"])]
      StoreImages      = [toset(["s3:PutObject", "s3:AbortMultipartUpload"]), toset(["arn:aws:s3:::raw/uploads/*", "arn:aws:s3:::raw/high_resolution/*", "arn:aws:s3:::raw/low_resolution/*"])]
      RecordRejections = [toset(["s3:PutObject"]), toset(["arn:aws:s3:::results/rejected/*"])]
      LookUp           = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::raw"])]
      Secrets          = [toset(["secretsmanager:GetSecretValue"]), toset(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/upload-token-??????"])]
      FirstValueOfSecrets = [
        toset(["secretsmanager:PutSecretValue"]), toset(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/upload-token-??????"]),
      ]
    }
    error_message = "Ingestion stores what comes in and looks up what it stored; it deletes nothing, and reads no result."
  }

  assert {
    condition     = one([for each in jsondecode(output.policy).Statement : toset(each.Condition.StringLike["s3:prefix"]) if each.Sid == "LookUp"]) == toset(["low_resolution/*", "uploads/*"])
    error_message = "It lists only where it looks things up."
  }

  assert {
    condition     = alltrue([for each in jsondecode(output.policy).Statement : !anytrue([for action in flatten([each.Action]) : strcontains(action, "*")]) && (each.Sid == "Sessions" || !contains(flatten([each.Resource]), "*"))])
    error_message = "Each statement names its actions and its resources."
  }

  assert {
    condition = { for each in jsondecode(output.policy).Statement : each.Sid => toset(flatten([each.Condition.StringEquals["kms:ViaService"]])) if can(each.Condition.StringEquals) } == {
      Decrypt = toset(["s3.eu-central-1.amazonaws.com", "secretsmanager.eu-central-1.amazonaws.com"])
      Encrypt = toset(["s3.eu-central-1.amazonaws.com", "secretsmanager.eu-central-1.amazonaws.com"])
    }
    error_message = "The key encrypts what it stores."
  }

  # The settings of an instance.
  assert {
    condition = alltrue([
      for line in [
        "export SUPERRES_UNITS='consume uploads'",
        "export SUPERRES_KAFKA__CLUSTER_ARN='${var.kafka.cluster_arn}'",
        "export SUPERRES_KAFKA__ENABLED='true'",
        "export SUPERRES_KAFKA__SECURITY='iam'",
        "export SUPERRES_INGESTION__UPLOAD_HOST='0.0.0.0'",
        "export SUPERRES_INGESTION__UPLOAD_PORT='8081'",
        "export SUPERRES_INGESTION__UPLOAD_PROXIES='1'",
        "export SUPERRES_SECRETS='uploads:SUPERRES_UPLOAD_TOKEN=superres-test/upload-token'",
      ] : contains(split("\n", output.user_data), line)
    ])
    error_message = "Consumer and uploads run, on MSK, and only the uploads get their token."
  }

  assert {
    condition     = aws_secretsmanager_secret.upload_token.kms_key_id == var.key_arn && aws_secretsmanager_secret.upload_token.recovery_window_in_days == 30
    error_message = "The secret is encrypted with our key, and can be brought back by default."
  }
}

run "a_short_recovery_is_refused" {
  command = plan

  variables {
    secret_recovery_days = 3
  }

  expect_failures = [var.secret_recovery_days]
}

run "without_kafka_and_load_balancer" {
  command = plan

  variables {
    kafka  = null
    target = null
  }

  assert {
    condition = alltrue([
      for line in [
        "export SUPERRES_UNITS='uploads'",
        "export SUPERRES_KAFKA__ENABLED='false'",
        "export SUPERRES_INGESTION__UPLOAD_HOST='127.0.0.1'",
        "export SUPERRES_INGESTION__UPLOAD_PORT='8081'",
        "export SUPERRES_INGESTION__UPLOAD_PROXIES='0'",
      ] : contains(split("\n", output.user_data), line)
    ]) && !strcontains(output.user_data, "export SUPERRES_KAFKA__CLUSTER_ARN")
    error_message = "The uploads are stored by the service that receives them, which only the instance itself reaches."
  }

  assert {
    condition = { for each in jsondecode(output.policy).Statement : each.Sid => toset(flatten([each.Resource])) if strcontains(jsonencode(each.Action), "Delete") || strcontains(jsonencode(each.Action), "kafka") } == {
      ForgetWhatIsStored = toset(["arn:aws:s3:::raw/uploads/pending/*"])
    }
    error_message = "It deletes only references that wait, and may do nothing with Kafka."
  }
}

run "several_without_kafka_are_refused" {
  command = plan

  variables {
    kafka     = null
    instances = 2
  }

  expect_failures = [var.instances]
}

run "with_starts_it_reads_their_queue_and_starts_runs" {
  command = plan

  variables {
    starts = {
      queue_url         = "https://sqs.eu-central-1.amazonaws.com/123456789012/superres-test-new-images"
      state_machine_arn = "arn:aws:states:eu-central-1:123456789012:stateMachine:superres-test-pipeline"
      policy            = "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"StartRuns\",\"Effect\":\"Allow\",\"Action\":\"states:StartExecution\",\"Resource\":\"arn:aws:states:eu-central-1:123456789012:stateMachine:superres-test-pipeline\"}]}"
    }
  }

  assert {
    condition     = [for each in jsondecode(output.policy).Statement : [each.Action, each.Resource] if each.Sid == "StartRuns"] == [["states:StartExecution", var.starts.state_machine_arn]]
    error_message = "The role may do what starting takes."
  }

  assert {
    condition     = one([for each in jsondecode(output.policy).Statement : contains(each.Condition.StringEquals["kms:ViaService"], "sqs.eu-central-1.amazonaws.com") if each.Sid == "Decrypt"])
    error_message = "It decrypts the messages."
  }

  assert {
    condition = alltrue([
      for line in [
        "export SUPERRES_UNITS='consume uploads start-runs'",
        "export SUPERRES_STARTS__QUEUE_URL='${var.starts.queue_url}'",
        "export SUPERRES_STARTS__STATE_MACHINE_ARN='${var.starts.state_machine_arn}'",
      ] : contains(split("\n", output.user_data), line)
    ])
    error_message = "The unit runs, and knows queue and state machine."
  }
}

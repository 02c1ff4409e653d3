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

override_resource {
  target          = aws_db_instance.this
  override_during = plan
  values = {
    endpoint           = "superres-test-notifier.example:5432"
    master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf" }]
  }
}

variables {
  name          = "superres-test"
  vpc_id        = "vpc-1"
  subnet_ids    = ["subnet-1", "subnet-2"]
  target        = { group_arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/page/1", port = 8080, balancer_security_group_id = "sg-balancer" }
  public_url    = "https://gallery.example.org"
  buckets       = { raw = "raw", results = "results", artifacts = "artifacts" }
  key_arn       = "arn:aws:kms:eu-central-1:123456789012:key/data"
  instance_type = "t3.small"
  instances     = 1
  queues = {
    evaluations = { name = "superres-test-evaluations", url = "https://queue.invalid/evaluations" }
    run_status  = { name = "superres-test-run-status", url = "https://queue.invalid/run-status" }
  }
  files = {
    wheel      = { key = "releases/1/wheel", sha256 = "1111111111111111111111111111111111111111111111111111111111111111" }
    wheelhouse = { key = "wheelhouses/2", sha256 = "2222222222222222222222222222222222222222222222222222222222222222" }
    config     = { key = "releases/1/config", sha256 = "3333333333333333333333333333333333333333333333333333333333333333" }
  }
}

run "the_notifier_may_do_what_it_does_and_no_more" {
  command = plan

  assert {
    condition = { for each in jsondecode(output.policy).Statement : each.Sid => [toset(flatten([each.Action])), toset(flatten([each.Resource]))] if !contains(["Release", "Decrypt", "Encrypt", "SendLogs", "Sessions", "ReportToSystemsManager"], each.Sid) } == {
      HearOfResults = [
        toset(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]),
        toset(["arn:aws:sqs:eu-central-1:123456789012:superres-test-evaluations", "arn:aws:sqs:eu-central-1:123456789012:superres-test-run-status"]),
      ]
      ReadResults = [
        toset(["s3:GetObject"]),
        toset(["arn:aws:s3:::results/evaluations/*", "arn:aws:s3:::results/images/*", "arn:aws:s3:::results/runs/*", "arn:aws:s3:::raw/high_resolution/*", "arn:aws:s3:::raw/low_resolution/*"]),
      ]
      LookThroughResults  = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::results"])]
      LookUpOriginals     = [toset(["s3:ListBucket"]), toset(["arn:aws:s3:::raw"])]
      Secrets             = [toset(["secretsmanager:GetSecretValue"]), toset(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/notifier-token-??????"])]
      FirstValueOfSecrets = [toset(["secretsmanager:PutSecretValue"]), toset(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/notifier-token-??????"])]
    }
    error_message = "The notifier reads queues, results and originals, and writes nothing to S3."
  }

  assert {
    condition = { for each in jsondecode(output.policy).Statement : each.Sid => toset(each.Condition.StringLike["s3:prefix"]) if can(each.Condition.StringLike) } == {
      LookThroughResults = toset(["evaluations", "evaluations/*", "images/*", "runs/*"])
      LookUpOriginals    = toset(["high_resolution/*", "low_resolution/*"])
    }
    error_message = "It lists only where pictures and records lie."
  }

  assert {
    condition     = alltrue([for each in jsondecode(output.policy).Statement : !anytrue([for action in flatten([each.Action]) : strcontains(action, "*")]) && (each.Sid == "Sessions" || !contains(flatten([each.Resource]), "*"))])
    error_message = "Each statement names its actions and its resources."
  }

  assert {
    condition = { for each in jsondecode(output.policy).Statement : each.Sid => toset(flatten([each.Condition.StringEquals["kms:ViaService"]])) if can(each.Condition.StringEquals) } == {
      Decrypt = toset(["s3.eu-central-1.amazonaws.com", "secretsmanager.eu-central-1.amazonaws.com", "sqs.eu-central-1.amazonaws.com"])
      Encrypt = toset(["secretsmanager.eu-central-1.amazonaws.com"])
    }
    error_message = "The key decrypts what it reads."
  }

  assert {
    condition = alltrue([
      for line in [
        "export SUPERRES_UNITS='notify'",
        "export SUPERRES_NOTIFIER__HOST='0.0.0.0'",
        "export SUPERRES_NOTIFIER__PROXIES='1'",
        "export SUPERRES_NOTIFIER__PUBLIC_URL='https://gallery.example.org'",
        "export SUPERRES_NOTIFIER__PUBLIC_GALLERY='false'",
        "export SUPERRES_NOTIFIER__EVENTS_QUEUE_URL='https://queue.invalid/evaluations'",
        "export SUPERRES_NOTIFIER__RUNS_QUEUE_URL='https://queue.invalid/run-status'",
        "export SUPERRES_SECRETS='notify:SUPERRES_NOTIFIER_TOKEN=superres-test/notifier-token'",
      ] : contains(split("\n", output.user_data), line)
    ]) && !strcontains(output.user_data, "export SUPERRES_NOTIFIER__DATABASE_URL")
    error_message = "It is behind one proxy, reads both queues, requires a token, and has its own SQLite."
  }

  assert {
    condition     = length(aws_db_instance.this) == 0 && length(aws_vpc_security_group_egress_rule.database) == 0
    error_message = "There is no PostgreSQL unless one is asked for."
  }

  assert {
    condition     = aws_secretsmanager_secret.token.kms_key_id == var.key_arn && aws_secretsmanager_secret.token.recovery_window_in_days == 30
    error_message = "The secret is encrypted with our key, and can be brought back by default."
  }
}

run "several_on_one_postgresql" {
  command = plan

  variables {
    instances           = 2
    database            = {}
    deletion_protection = true
  }

  assert {
    condition     = aws_db_instance.this[0].storage_encrypted && aws_db_instance.this[0].kms_key_id == var.key_arn && !aws_db_instance.this[0].publicly_accessible && aws_db_instance.this[0].multi_az
    error_message = "The database is encrypted, private, and in two zones."
  }

  assert {
    condition     = aws_db_instance.this[0].manage_master_user_password && aws_db_instance.this[0].password == null && aws_db_instance.this[0].master_user_secret_kms_key_id == var.key_arn
    error_message = "RDS makes the password, and keeps it in Secrets Manager."
  }

  assert {
    condition     = aws_db_instance.this[0].deletion_protection && aws_db_instance.this[0].backup_retention_period == 14
    error_message = "The database is protected and backed up."
  }

  assert {
    condition     = [for each in aws_db_parameter_group.this[0].parameter : each.value if each.name == "rds.force_ssl"] == ["1"] && strcontains(output.user_data, "export SUPERRES_NOTIFIER__DATABASE_URL='postgresql://superres@superres-test-notifier.example:5432/superres?sslmode=require'\n")
    error_message = "The database admits TLS only, and the notifier speaks nothing else; the URL holds no password."
  }

  assert {
    condition     = strcontains(output.user_data, "notify:PGPASSWORD=arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf#password ")
    error_message = "The password is asked for at the start."
  }

  assert {
    condition = { for each in jsondecode(output.policy).Statement : each.Sid => toset(flatten([each.Resource])) if strcontains(each.Sid, "Secrets") } == {
      Secrets             = toset(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/notifier-token-??????", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1-AbCdEf"])
      FirstValueOfSecrets = toset(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/notifier-token-??????"])
    }
    error_message = "Its password can be read, and not changed."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.database[0].from_port == 5432 && aws_vpc_security_group_ingress_rule.database[0].to_port == 5432 && aws_vpc_security_group_ingress_rule.database[0].cidr_ipv4 == null
    error_message = "Only the notifier reaches the database."
  }
}

run "several_without_a_database_are_refused" {
  command = plan

  variables {
    instances = 2
  }

  expect_failures = [var.instances]
}

run "without_a_load_balancer" {
  command = plan

  variables {
    target      = null
    public_url  = "http://localhost:8080"
    uploads_url = "http://localhost:8081/uploads"
  }

  assert {
    condition = alltrue([
      for line in [
        "export SUPERRES_NOTIFIER__HOST='127.0.0.1'",
        "export SUPERRES_NOTIFIER__PORT='8080'",
        "export SUPERRES_NOTIFIER__PROXIES='0'",
        "export SUPERRES_NOTIFIER__UPLOADS_URL='http://localhost:8081/uploads'",
      ] : contains(split("\n", output.user_data), line)
    ])
    error_message = "Only the instance itself reaches the gallery, and no header of a proxy is trusted."
  }
}

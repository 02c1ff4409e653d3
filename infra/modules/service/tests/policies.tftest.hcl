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
  target = data.aws_ssm_parameter.image
  values = { value = "ami-1" }
}

variables {
  policies     = ["{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"Own\",\"Effect\":\"Allow\",\"Action\":\"sqs:ReceiveMessage\",\"Resource\":\"arn:aws:sqs:eu-central-1:123456789012:queue\"}]}"]
  decrypts_for = ["sqs"]
  secrets = [
    { unit = "notify", variable = "SUPERRES_NOTIFIER_TOKEN", id = "superres-test/token", arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/token-??????", fill = true },
    { unit = "notify", variable = "PGPASSWORD", id = "database#password", arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:database", fill = false },
  ]
}

run "an_instance_may_do_what_it_does_and_no_more" {
  command = plan

  assert {
    condition = { for each in jsondecode(aws_iam_role_policy.this.policy).Statement : each.Sid => [toset(flatten([each.Action])), toset(flatten([each.Resource]))] } == {
      Own     = [toset(["sqs:ReceiveMessage"]), toset(["arn:aws:sqs:eu-central-1:123456789012:queue"])]
      Release = [toset(["s3:GetObject"]), toset(["arn:aws:s3:::artifacts/releases/1/wheel", "arn:aws:s3:::artifacts/wheelhouses/2", "arn:aws:s3:::artifacts/releases/1/config"])]
      Secrets = [
        toset(["secretsmanager:GetSecretValue"]),
        toset(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/token-??????", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:database"]),
      ]
      FirstValueOfSecrets = [toset(["secretsmanager:PutSecretValue"]), toset(["arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/token-??????"])]
      Decrypt             = [toset(["kms:Decrypt"]), toset(["arn:aws:kms:eu-central-1:123456789012:key/data"])]
      Encrypt             = [toset(["kms:GenerateDataKey"]), toset(["arn:aws:kms:eu-central-1:123456789012:key/data"])]
      SendLogs            = [toset(["logs:CreateLogStream", "logs:PutLogEvents"]), toset(["arn:aws:logs:eu-central-1:123456789012:log-group:/superres-test/services/notifier:*"])]
      # Actions that know no resources.
      Sessions               = [toset(["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]), toset(["*"])]
      ReportToSystemsManager = [toset(["ssm:UpdateInstanceInformation"]), toset(["arn:aws:ec2:eu-central-1:123456789012:instance/*"])]
    }
    error_message = "A role may fetch its release, read its secrets, open sessions, and do what its service does."
  }

  assert {
    condition = { for each in jsondecode(aws_iam_role_policy.this.policy).Statement : each.Sid => toset(flatten([each.Condition.StringEquals["kms:ViaService"]])) if can(each.Condition) } == {
      Decrypt = toset(["s3.eu-central-1.amazonaws.com", "secretsmanager.eu-central-1.amazonaws.com", "sqs.eu-central-1.amazonaws.com"])
      Encrypt = toset(["secretsmanager.eu-central-1.amazonaws.com"])
    }
    error_message = "The key serves services of AWS that encrypt for it, never by hand."
  }

  assert {
    condition     = [for each in jsondecode(aws_iam_role.this.assume_role_policy).Statement : [each.Action, each.Principal]] == [["sts:AssumeRole", { Service = "ec2.amazonaws.com" }]]
    error_message = "Only instances take the role."
  }
}

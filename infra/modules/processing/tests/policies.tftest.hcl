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

run "instances_may_do_what_jobs_do_and_no_more" {
  command = plan

  assert {
    condition = { for each in jsondecode(output.node_policy).Statement : each.Sid => [toset(flatten([each.Action])), toset(flatten([each.Resource]))] if !startswith(each.Sid, "List") } == {
      ReadPackage = [toset(["s3:GetObject"]), toset(["arn:aws:s3:::artifacts/releases/*", "arn:aws:s3:::artifacts/wheelhouses/*"])]
      ReadImages  = [toset(["s3:GetObject"]), toset(["arn:aws:s3:::raw/high_resolution/*", "arn:aws:s3:::raw/low_resolution/*"])]
      UseTables = [
        toset(["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListMultipartUploadParts", "s3:PutObject"]),
        toset(["arn:aws:s3:::work/run_id=*"]),
      ]
      WriteResults = [
        toset(["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]),
        toset(["arn:aws:s3:::results/evaluations/*", "arn:aws:s3:::results/images/*", "arn:aws:s3:::results/rejected/*", "arn:aws:s3:::results/runs/*"]),
      ]
      ForgetOutcomes = [toset(["s3:DeleteObject"]), toset(["arn:aws:s3:::results/evaluations/*", "arn:aws:s3:::results/rejected/*"])]
      WriteLogs      = [toset(["s3:PutObject"]), toset(["arn:aws:s3:::logs/emr/*"])]
      SendLogs       = [toset(["logs:CreateLogStream", "logs:PutLogEvents"]), toset(["arn:aws:logs:eu-central-1:123456789012:log-group:/superres-test/steps:*"])]
      # Actions that know no resources; the first is held to a namespace.
      SendMetrics            = [toset(["cloudwatch:PutMetricData"]), toset(["*"])]
      Sessions               = [toset(["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]), toset(["*"])]
      ReportToSystemsManager = [toset(["ssm:UpdateInstanceInformation"]), toset(["arn:aws:ec2:eu-central-1:123456789012:instance/*"])]
      UseKey                 = [toset(["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"]), toset(["arn:aws:kms:eu-central-1:123456789012:key/data"])]
    }
    error_message = "The instances read the package and images, write tables, results and logs, and use one key; no image or result may be deleted."
  }

  assert {
    condition = { for each in jsondecode(output.node_policy).Statement : each.Sid => [each.Action, toset(flatten([each.Resource])), toset(flatten([try(each.Condition.StringLike["s3:prefix"], [])]))] if startswith(each.Sid, "List") } == {
      ListWhereSparkWorks  = ["s3:ListBucket", toset(["arn:aws:s3:::artifacts", "arn:aws:s3:::work"]), toset([])]
      ListRaw              = ["s3:ListBucket", toset(["arn:aws:s3:::raw"]), toset(["high_resolution/*", "low_resolution/*"])]
      ListResults          = ["s3:ListBucket", toset(["arn:aws:s3:::results"]), toset(["evaluations/*", "images/*", "rejected/*", "runs/*"])]
      ListUnfinishedTables = ["s3:ListBucketMultipartUploads", toset(["arn:aws:s3:::work"]), toset([])]
    }
    error_message = "They list where they work, and nowhere else."
  }

  assert {
    condition     = [for each in jsondecode(output.node_policy).Statement : can(each.Condition) if each.Sid == "ListWhereSparkWorks"] == [false]
    error_message = "A condition on s3:prefix would make S3 answer 403 for every key that does not exist, which Spark's S3 connector takes for an error."
  }

  assert {
    condition     = [for each in jsondecode(output.node_policy).Statement : each.Condition if each.Sid == "SendMetrics"] == [{ StringEquals = { "cloudwatch:namespace" = "superres-test" } }]
    error_message = "They measure below their own name alone."
  }

  # Emr passes one role and uses one key.
  assert {
    condition = [for each in jsondecode(output.service_policy).Statement : [each.Sid, each.Action, each.Resource, try(each.Condition, null)]] == [
      ["PassRoleOfInstances", "iam:PassRole", "arn:aws:iam::123456789012:role/superres-test-emr-nodes", { StringEquals = { "iam:PassedToService" = "ec2.amazonaws.com" } }],
      [
        "EncryptDisks",
        ["kms:ReEncryptTo", "kms:ReEncryptFrom", "kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateDataKey", "kms:Encrypt", "kms:DescribeKey", "kms:Decrypt"],
        "arn:aws:kms:eu-central-1:123456789012:key/data", null,
      ],
      [
        "MakeSpotRole", "iam:CreateServiceLinkedRole",
        "arn:aws:iam::123456789012:role/aws-service-role/spot.amazonaws.com/AWSServiceRoleForEC2Spot",
        { StringEquals = { "iam:AWSServiceName" = "spot.amazonaws.com" } },
      ],
      ["LetDisksBeOpened", "kms:CreateGrant", "arn:aws:kms:eu-central-1:123456789012:key/data", { Bool = { "kms:GrantIsForAWSResource" = "true" } }],
    ]
    error_message = "EMR passes the instances' role to EC2 alone, encrypts disks with one key, grants it to services of AWS alone, and may make the role that spot needs."
  }

  assert {
    condition = alltrue([
      for each in concat(jsondecode(output.service_policy).Statement, jsondecode(output.node_policy).Statement) :
      (!contains(flatten([each.Resource]), "*") || contains(["SendMetrics", "Sessions"], each.Sid)) && alltrue([for action in flatten([each.Action]) : !strcontains(action, "*")])
    ])
    error_message = "Every statement names its actions and resources."
  }

  assert {
    condition = one(jsondecode(aws_iam_role.service.assume_role_policy).Statement) == {
      Sid       = "Emr"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "elasticmapreduce.amazonaws.com" }
      Condition = {
        StringEquals = { "aws:SourceAccount" = "123456789012" }
        ArnLike      = { "aws:SourceArn" = "arn:aws:elasticmapreduce:eu-central-1:123456789012:*" }
      }
    }
    error_message = "EMR takes the role for this account's clusters only."
  }

  assert {
    condition     = aws_iam_role_policy_attachment.service.policy_arn == "arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"
    error_message = "The managed policy is the one that keeps to what bears the tag."
  }
}

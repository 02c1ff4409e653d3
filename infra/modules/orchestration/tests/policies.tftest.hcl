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
  target = module.run_status.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.new_images.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

# A plan of it asks AWS whether the definition is good.
override_resource {
  target = aws_sfn_state_machine.pipeline
}

run "policies" {
  command = plan

  # The queue takes events of the rule alone.
  assert {
    condition = [for each in jsondecode(output.run_status_policy).Statement : each if each.Effect == "Allow"] == [{
      Sid       = "AllowStatusOfRuns"
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:eu-central-1:123456789012:superres-test-run-status"
      Principal = { Service = "events.amazonaws.com" }
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:events:eu-central-1:123456789012:rule/superres-test-run-status" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "The queue must let EventBridge send what this rule finds, and nothing else."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.run_status.name == "superres-test-run-status"
    error_message = "The queue's and the key's policies know the rule by this name."
  }

  # The rule matches only this state machine.
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.run_status.event_pattern) == {
      source      = ["aws.states"]
      detail-type = ["Step Functions Execution Status Change"]
      detail      = { stateMachineArn = ["arn:aws:states:eu-central-1:123456789012:stateMachine:superres-test-pipeline"] }
    }
    error_message = "Executions of other state machines do not match."
  }
}

run "new_images_may_start_executions" {
  command = plan

  assert {
    condition = [for each in jsondecode(output.new_images_policy).Statement : each if each.Effect == "Allow"] == [{
      Sid       = "AllowNewImages"
      Effect    = "Allow"
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:eu-central-1:123456789012:superres-test-new-images"
      Principal = { Service = "events.amazonaws.com" }
      Condition = {
        ArnEquals    = { "aws:SourceArn" = "arn:aws:events:eu-central-1:123456789012:rule/superres-test-new-images" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "The queue must let EventBridge send what this rule finds, and nothing else."
  }

  # Originals (high_resolution/) and uploads lie in the same bucket.
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.new_images.event_pattern) == {
      source      = ["aws.s3"]
      detail-type = ["Object Created"]
      detail      = { bucket = { name = ["raw"] }, object = { key = [{ prefix = "low_resolution/" }] } }
    }
    error_message = "Only low-resolution images of this bucket match."
  }

  assert {
    condition     = aws_cloudwatch_event_rule.new_images.name == "superres-test-new-images" && aws_cloudwatch_event_rule.new_images.state == "ENABLED"
    error_message = "The queue's and the key's policies know the rule by this name."
  }

  assert {
    condition = { for each in jsondecode(output.starts_policy).Statement : each.Sid => [toset(flatten([each.Action])), each.Resource] } == {
      HearOfNewImages   = [toset(["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]), "arn:aws:sqs:eu-central-1:123456789012:superres-test-new-images"]
      StartRuns         = [toset(["states:ListExecutions", "states:StartExecution"]), "arn:aws:states:eu-central-1:123456789012:stateMachine:superres-test-pipeline"]
      LookAtStartedRuns = [toset(["states:DescribeExecution"]), "arn:aws:states:eu-central-1:123456789012:execution:superres-test-pipeline:new-images-*"]
    }
    error_message = "Whoever starts runs reads one queue, starts one state machine, and looks only at what new images started."
  }
}

run "new_images_need_start_nothing" {
  command = plan

  variables {
    starts = { on_new_images = false }
  }

  assert {
    condition     = aws_cloudwatch_event_rule.new_images.state == "DISABLED"
    error_message = "The queue stays empty when nobody reads it."
  }
}

run "with_a_persistent_cluster_it_runs_steps_there" {
  command = plan

  assert {
    condition = { for each in jsondecode(output.pipeline_policy).Statement : each.Sid => toset(flatten([each.Resource])) } == {
      LookForImages  = toset(["arn:aws:s3:::raw"])
      ReadReports    = toset(["arn:aws:s3:::work/run_id=*/reports/*"])
      DecryptReports = toset(["arn:aws:kms:eu-central-1:123456789012:key/data"])
      RunSteps       = toset(["arn:aws:elasticmapreduce:eu-central-1:123456789012:cluster/j-1"])
      DeliverLogs    = toset(["*"])
      SendTraces     = toset(["*"])
    }
    error_message = "It reaches one cluster, the names in one bucket and the reports in another; only logs and traces know no resource."
  }

  assert {
    condition = alltrue([
      for each in jsondecode(output.pipeline_policy).Statement : alltrue([for action in flatten([each.Action]) : !strcontains(action, "*")])
    ])
    error_message = "Every statement names its actions."
  }

  assert {
    condition = [for each in jsondecode(output.pipeline_policy).Statement : [toset(each.Action), try(each.Condition, null)] if each.Sid == "RunSteps"] == [
      [toset(["elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:CancelSteps", "elasticmapreduce:DescribeCluster", "elasticmapreduce:DescribeStep"]), null]
    ]
    error_message = "It may neither make nor terminate a cluster that Terraform owns."
  }

  assert {
    condition     = [for each in jsondecode(output.schedule_policy).Statement : [each.Action, each.Resource]] == [["states:StartExecution", "arn:aws:states:eu-central-1:123456789012:stateMachine:superres-test-pipeline"]]
    error_message = "The clock may start this state machine and do nothing else."
  }

  assert {
    condition = [for each in [aws_iam_role.pipeline, aws_iam_role.schedule] : one(jsondecode(each.assume_role_policy).Statement).Condition.StringEquals] == [
      { "aws:SourceAccount" = "123456789012" }, { "aws:SourceAccount" = "123456789012" },
    ]
    error_message = "Roles are taken for this account only."
  }
}

run "with_transient_clusters_it_makes_and_terminates_them" {
  command = plan

  variables {
    cluster_lifecycle = "transient"
    cluster_id        = null
  }

  assert {
    condition = { for each in jsondecode(output.pipeline_policy).Statement : each.Sid => [toset(flatten([each.Action])), each.Resource] if contains(["MakeCluster", "SetUpAndTerminateCluster", "RunSteps"], each.Sid) } == {
      MakeCluster = [toset(["elasticmapreduce:RunJobFlow"]), "*"]
      SetUpAndTerminateCluster = [
        toset(["elasticmapreduce:AddTags", "elasticmapreduce:PutAutoTerminationPolicy", "elasticmapreduce:PutManagedScalingPolicy", "elasticmapreduce:TerminateJobFlows"]),
        "arn:aws:elasticmapreduce:eu-central-1:123456789012:cluster/*",
      ]
      RunSteps = [
        toset(["elasticmapreduce:AddJobFlowSteps", "elasticmapreduce:CancelSteps", "elasticmapreduce:DescribeCluster", "elasticmapreduce:DescribeStep"]),
        "arn:aws:elasticmapreduce:eu-central-1:123456789012:cluster/*",
      ]
    }
    error_message = "It may do what a cluster of its own takes."
  }

  assert {
    condition = { for each in jsondecode(output.pipeline_policy).Statement : each.Sid => each.Condition if contains(["MakeCluster", "SetUpAndTerminateCluster", "RunSteps"], each.Sid) } == {
      MakeCluster              = { StringEquals = { "elasticmapreduce:RequestTag/Stack" = "superres-test" } }
      SetUpAndTerminateCluster = { StringEquals = { "elasticmapreduce:ResourceTag/Stack" = "superres-test" } }
      RunSteps                 = { StringEquals = { "elasticmapreduce:ResourceTag/Stack" = "superres-test" } }
    }
    error_message = "It makes only clusters with our tag, and neither adds steps to another cluster, nor terminates or tags it."
  }

  assert {
    condition = { for each in jsondecode(output.pipeline_policy).Statement : each.Sid => [each.Resource, each.Condition.StringEquals["iam:PassedToService"]] if startswith(each.Sid, "PassRole") } == {
      PassRoleOfEmr       = ["arn:aws:iam::123456789012:role/superres-test-emr", "elasticmapreduce.amazonaws.com"]
      PassRoleOfInstances = ["arn:aws:iam::123456789012:role/superres-test-emr-nodes", "ec2.amazonaws.com"]
    }
    error_message = "It passes on those two roles, each to its own service."
  }
}

run "without_traces_it_may_send_none" {
  command = plan

  variables {
    tracing = false
  }

  assert {
    condition     = !strcontains(output.pipeline_policy, "xray") && !aws_sfn_state_machine.pipeline.tracing_configuration[0].enabled
    error_message = "Rights go with what they are for."
  }
}

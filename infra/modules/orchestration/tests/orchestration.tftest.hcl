mock_provider "aws" {
  source = "../../tests/mocks"

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/role" }
  }

  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:superres-test-run-status" }
  }
}

run "how_runs_stand_is_told_to_the_queue" {
  command = apply

  assert {
    condition     = aws_cloudwatch_event_target.run_status.arn == output.run_status.arn && aws_cloudwatch_event_target.run_status.rule == aws_cloudwatch_event_rule.run_status.name
    error_message = "What the rule finds goes to the queue."
  }

  assert {
    condition     = aws_cloudwatch_event_target.run_status.input == null && length(aws_cloudwatch_event_target.run_status.input_transformer) == 0
    error_message = "The notifier reads the event as EventBridge sends it."
  }
}

run "new_images_are_told_to_the_queue" {
  command = apply

  assert {
    condition     = aws_cloudwatch_event_target.new_images.arn == output.new_images.arn && aws_cloudwatch_event_target.new_images.rule == aws_cloudwatch_event_rule.new_images.name && aws_cloudwatch_event_target.new_images.role_arn == null
    error_message = "What the rule finds goes to the queue, by the queue's policy."
  }

  assert {
    condition     = aws_cloudwatch_event_target.new_images.input == null && length(aws_cloudwatch_event_target.new_images.input_transformer) == 0
    error_message = "The event is read as EventBridge sends it."
  }

  # Twelve hours are the longest that SQS hides a message.
  assert {
    condition     = module.new_images.patience.receive_limit * 12 * 3600 + 86400 <= module.new_images.patience.retention_seconds
    error_message = "A message whose runs keep failing becomes a dead letter before the queue drops it, with a day to spare."
  }

  assert {
    condition     = module.new_images.patience.receive_limit * 12 >= 7 * 24
    error_message = "Executions and failures of a week cost no message."
  }
}

run "the_definition_has_this_environments_names" {
  command = apply

  # Its behaviour is tested in tests/integration/test_state_machine_executions.py.
  assert {
    condition = (
      jsondecode(output.definition).States.FindCluster.Parameters.ClusterId == "j-1" &&
      jsondecode(output.definition).States.FindImages.ItemProcessor.States.ListImages.Parameters.Bucket == "raw" &&
      jsondecode(output.definition).States.CountImages.Parameters.cluster_lifecycle == "persistent" &&
      jsondecode(output.definition).States.Begin.Parameters.defaults.scale == 2
    )
    error_message = "It knows the cluster, the bucket of images and the scale of the configuration."
  }

  assert {
    condition = {
      for name, state in jsondecode(output.definition).States.Runs.ItemProcessor.States : name => state.Parameters.Step.HadoopJarStep["Args.$"] if can(state.Parameters.Step)
      } == {
      Split       = "States.Array('spark-submit', '--conf', 'spark.a=mass_split', 's3://artifacts/mass_split.py', '--run-id', $.run.run_id, '--start-id', $.start_id, '--report', States.Format('s3://work/run_id={}/reports/{}.json', $.run.run_id, $$.Execution.Name))"
      SplitAgain  = "States.Array('spark-submit', '--conf', 'spark.a=mass_split', 's3://artifacts/mass_split.py', '--run-id', $.run.run_id, '--start-id', $.start_id, '--report', States.Format('s3://work/run_id={}/reports/{}.json', $.run.run_id, $$.Execution.Name), '--redo')"
      Infer       = "States.Array('spark-submit', '--conf', 'spark.a=batch_inference', 's3://artifacts/batch_inference.py', '--run-id', $.run.run_id, '--start-id', $.start_id)"
      Reconstruct = "States.Array('spark-submit', '--conf', 'spark.a=mass_reconstruct', 's3://artifacts/mass_reconstruct.py', '--run-id', $.run.run_id, '--start-id', $.start_id)"
      Evaluate    = "States.Array('spark-submit', '--conf', 'spark.a=evaluate', 's3://artifacts/evaluate.py', '--run-id', $.run.run_id, '--start-id', $.start_id, '--report', States.Format('s3://work/run_id={}/reports/{}-evaluate.json', $.run.run_id, $$.Execution.Name))"
    }
    error_message = "Each step is submitted with the arguments of its job and the run's name."
  }

  assert {
    condition     = alltrue([for state in jsondecode(output.definition).States.Runs.ItemProcessor.States : state.TimeoutSeconds == (can(state.Parameters.Step) ? 43200 : 60) if state.Type == "Task"])
    error_message = "No step runs for ever."
  }

  assert {
    condition = jsondecode(output.definition).States.CreateCluster.Parameters == {
      "Name.$"  = "States.Format('superres-test-{}', $$.Execution.Name)"
      Instances = { KeepJobFlowAliveWhenNoSteps = true }
    }
    error_message = "A transient cluster is the one of modules/processing, named after the execution."
  }

  assert {
    condition     = aws_sfn_state_machine.pipeline.logging_configuration[0].level == "ALL" && aws_sfn_state_machine.pipeline.tracing_configuration[0].enabled
    error_message = "What an execution does is logged and traced."
  }

  assert {
    condition     = aws_cloudwatch_log_group.pipeline.kms_key_id == var.key_arn && startswith(aws_cloudwatch_log_group.pipeline.name, "/${var.name}/")
    error_message = "Logs are encrypted with the key, whose policy knows groups below /{name}/."
  }

  # The schedule passes its scheduled time.
  assert {
    condition     = aws_scheduler_schedule.pipeline.target[0].input == "{\"scheduled_time\": \"<aws.scheduler.scheduled-time>\"}" && aws_scheduler_schedule.pipeline.schedule_expression_timezone == "UTC"
    error_message = "Yesterday and today are counted from the scheduled time, in UTC."
  }

  assert {
    condition     = aws_scheduler_schedule.pipeline.target[0].arn == output.state_machine_arn && aws_scheduler_schedule.pipeline.state == "ENABLED"
    error_message = "The clock starts this state machine."
  }
}

run "the_clock_can_be_off" {
  command = plan

  variables {
    schedule = { enabled = false }
  }

  assert {
    condition     = aws_scheduler_schedule.pipeline.state == "DISABLED"
    error_message = "Without it, executions are started by hand."
  }
}

run "arguments_that_would_end_a_string_are_refused" {
  command = plan

  variables {
    steps = { for job in ["mass_split", "batch_inference", "mass_reconstruct", "evaluate"] : job => ["it's"] }
  }

  expect_failures = [var.steps]
}

run "a_schedule_without_its_form_is_refused" {
  command = plan

  variables {
    schedule = { expression = "every day" }
  }

  expect_failures = [var.schedule]
}

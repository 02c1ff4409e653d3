# What must hold in every environment: run it with -var-file=environments/….tfvars for each.

mock_provider "aws" {
  source = "tests/mocks"

  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/data" }
  }

  mock_resource "aws_sqs_queue" {
    defaults = {
      arn = "arn:aws:sqs:eu-central-1:123456789012:queue"
      url = "https://queue.invalid/queue"
    }
  }

  mock_data "aws_ssm_parameter" {
    defaults = { value = "ami-1" }
  }

  mock_data "aws_default_tags" {
    defaults = { tags = {} }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/superres-test" }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/superres-test" }
  }

  mock_resource "aws_lb" {
    defaults = {
      arn      = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/superres-test/1"
      dns_name = "balancer.invalid"
    }
  }

  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/superres-test/1" }
  }

  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/superres-test/1/1" }
  }

  mock_resource "aws_launch_template" {
    defaults = { id = "lt-1", latest_version = 1 }
  }

  mock_resource "aws_db_instance" {
    defaults = {
      endpoint           = "database.invalid:5432"
      master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-1" }]
    }
  }

  mock_resource "aws_sns_topic" {
    defaults = { arn = "arn:aws:sns:eu-central-1:123456789012:superres-test-alarms" }
  }

  mock_resource "aws_msk_configuration" {
    defaults = { arn = "arn:aws:kafka:eu-central-1:123456789012:configuration/superres-test/1" }
  }
}

variables {
  environment = "test"
  region      = "eu-central-1"
  package_dir = "tests/package"
}

run "the_parts_fit_together" {
  command = apply

  assert {
    condition     = output.name == "superres-test" && output.buckets["results"] != ""
    error_message = "Names begin with project and environment."
  }

  assert {
    condition     = length(module.network.private_subnet_ids) == var.zone_count
    error_message = "There is a private subnet in each zone."
  }
}

# ---- package, processing, orchestration

run "what_was_packed_is_uploaded_and_configured" {
  command = apply

  assert {
    condition     = { for key, object in aws_s3_object.package : key => object.source_hash } == { for file in jsondecode(file("tests/package/manifest.json")).files : file.key => file.sha256 }
    error_message = "Every file of the package is uploaded under its key, again when its content changes."
  }

  # What the package says, what lies where, and nothing lost between.
  assert {
    condition = (
      yamldecode(aws_s3_object.config.content).dataset.low_resolution_dir == "s3://superres-test-raw-123456789012-eu-central-1/low_resolution" &&
      yamldecode(aws_s3_object.config.content).dataset.reconstructed_images_dir == "s3://superres-test-results-123456789012-eu-central-1" &&
      yamldecode(aws_s3_object.config.content).ingestion == { mode = "evaluate", uploads_dir = "s3://superres-test-raw-123456789012-eu-central-1/uploads" } &&
      yamldecode(aws_s3_object.config.content).processing == { upscale_factor = 2, patch_size = 512, device = var.processing.device }
    )
    error_message = "config.yaml is the package's, with the directories and the device of this environment."
  }

  assert {
    condition     = aws_s3_object.config.key == "releases/0.1.0-000000000000/environments/test-${substr(sha256(aws_s3_object.config.content), 0, 12)}.yaml"
    error_message = "A configuration that changes gets a key of its own: jobs and services that run keep theirs."
  }

  assert {
    condition     = (output.cluster_id == null) == (output.cluster_lifecycle == "transient") && toset(keys(output.steps)) == toset(["mass_split", "batch_inference", "mass_reconstruct", "evaluate", "fused"])
    error_message = "The outputs have cluster and arguments for submitting a step by hand."
  }

  assert {
    condition = alltrue([
      for job, arguments in output.steps :
      strcontains(join(" ", arguments), "/releases/0.1.0-000000000000/jobs/${job}.py --config ${output.config_uri}") && endswith(output.config_uri, aws_s3_object.config.key)
    ])
    error_message = "Jobs are those of the release, with this environment's configuration."
  }

  assert {
    condition = strcontains(module.orchestration.definition, output.config_uri) && alltrue([
      for state in jsondecode(module.orchestration.definition).States.Runs.ItemProcessor.States :
      strcontains(state.Parameters.Step.HadoopJarStep["Args.$"], "'${join("', '", output.steps[state.Parameters.Step.Name])}'") if can(state.Parameters.Step)
    ])
    error_message = "The state machine submits what make emr-step submits."
  }

  assert {
    condition     = endswith(output.state_machine_arn, ":superres-test-pipeline") && startswith(output.log_uri, "s3://superres-test-logs-")
    error_message = "The outputs have state machine and logs for starting and following an execution."
  }
}

run "an_environment_may_set_what_it_likes" {
  command = apply

  variables {
    config = { processing = { upscale_factor = 3 }, notifier = { gallery_size = 20 } }
  }

  assert {
    condition     = yamldecode(aws_s3_object.config.content).processing == { upscale_factor = 3, patch_size = 512, device = var.processing.device } && yamldecode(aws_s3_object.config.content).notifier == { gallery_size = 20 }
    error_message = "What the environment says wins, key by key."
  }

  assert {
    condition     = output.default_scale == 3 && jsondecode(module.orchestration.definition).States.Begin.Parameters.defaults.scale == 3
    error_message = "Runs without a scale have that of the configuration."
  }
}

run "both_lifecycles_go_together" {
  command = apply

  variables {
    cluster_lifecycle = "transient"
  }

  assert {
    condition     = output.cluster_id == null && jsondecode(module.orchestration.definition).States.CountImages.Parameters.cluster_lifecycle == "transient" && length(jsondecode(module.orchestration.definition).States.CreateCluster.Parameters.Instances.InstanceFleets) == (var.processing.gpu.max_instances > 0 ? 3 : 2)
    error_message = "Without a cluster, the state machine makes one of the same specification."
  }
}

run "a_package_that_is_not_there_is_told" {
  command = plan

  variables {
    package_dir = "tests/no-package"
  }

  expect_failures = [var.package_dir]
}

# ---- services

run "the_services_stand_behind_one_load_balancer" {
  command = apply

  assert {
    condition     = [output.page_url, output.uploads_url] == (var.load_balancer.enabled ? ["http://balancer.invalid", "http://balancer.invalid/uploads"] : ["http://localhost:8080", "http://localhost:8081/uploads"])
    error_message = "Page and uploads are one site; without a load balancer, ports that are forwarded."
  }

  assert {
    condition     = output.tokens == { notifier = "superres-test/notifier-token", uploads = "superres-test/upload-token" } && output.service_groups == { ingestion = "superres-test-ingestion", notifier = "superres-test-notifier" }
    error_message = "The outputs have the secrets of tokens and the release."
  }

  # Each service gets its own release.
  assert {
    condition     = module.ingestion.user_data != module.notifier.user_data && strcontains(module.ingestion.user_data, local.service_files["ingestion"].wheelhouse.sha256) && strcontains(module.notifier.user_data, local.service_files["notifier"].wheelhouse.sha256)
    error_message = "User data hold the digests of the service's own wheelhouse."
  }

  assert {
    condition = alltrue([
      for name in module.observability.alarm_names : strcontains(file("../docs/operations.md"), "`${trimprefix(name, "superres-test-")}`")
    ])
    error_message = "docs/operations.md must say what to do about each alarm."
  }

  assert {
    condition     = length([for name in module.observability.alarm_names : name if strcontains(name, "dead-letters-")]) == length([for name in keys(output.queues) : name if endswith(name, "dead_letters")])
    error_message = "Each dead-letter queue has its alarm."
  }
}

run "what_an_environment_leaves_out_is_not_there" {
  command = apply

  assert {
    condition     = (output.cluster_arn != null) == var.kafka.enabled && (output.load_balancer_dns_name != null) == var.load_balancer.enabled
    error_message = "Kafka and the load balancer are there where they are asked for."
  }

  assert {
    condition     = strcontains(module.ingestion.user_data, "export SUPERRES_KAFKA__ENABLED='${var.kafka.enabled}'\n") && contains(module.observability.alarm_names, "superres-test-consumer-lag") == var.kafka.enabled && contains(module.observability.alarm_names, "superres-test-no-healthy-page") == var.load_balancer.enabled
    error_message = "Services and alarms look for Kafka and the load balancer only where they are."
  }

  assert {
    condition     = module.network.instance_subnet_ids == (var.public_addresses ? module.network.public_subnet_ids : module.network.private_subnet_ids)
    error_message = "Instances are in public subnets only where that is asked for."
  }
}

run "the_least_that_can_be_asked_for" {
  command = apply

  variables {
    nat_gateway_count   = 0
    interface_endpoints = []
    public_addresses    = true
    kafka               = { enabled = false }
    load_balancer       = { enabled = false }
    ingestion           = { instances = 1 }
    notifier            = { instances = 1, database = "sqlite" }
  }

  assert {
    condition     = output.cluster_arn == null && output.load_balancer_dns_name == null && output.page_url == "http://localhost:8080" && output.uploads_url == "http://localhost:8081/uploads"
    error_message = "Any environment can do without Kafka and a load balancer."
  }
}

run "several_ingestion_instances_without_a_load_balancer_are_refused" {
  command = plan

  variables {
    kafka         = {}
    load_balancer = { enabled = false }
    ingestion     = { instances = 2 }
  }

  expect_failures = [var.load_balancer]
}

run "new_images_start_runs_where_that_is_on" {
  command = apply

  variables {
    starts = { on_new_images = true }
  }

  assert {
    condition = alltrue([
      for line in [
        "export SUPERRES_STARTS__QUEUE_URL='${output.queues["new_images"]}'",
        "export SUPERRES_STARTS__STATE_MACHINE_ARN='${output.state_machine_arn}'",
      ] : contains(split("\n", module.ingestion.user_data), line)
    ])
    error_message = "The instances of ingestion know the queue of new images and what to start."
  }

  assert {
    condition     = can(regex("export SUPERRES_UNITS='[a-z ]*start-runs'", module.ingestion.user_data))
    error_message = "They run the unit that starts runs."
  }
}

run "new_images_start_nothing_where_that_is_off" {
  command = apply

  variables {
    starts = { on_new_images = false }
  }

  assert {
    condition     = !strcontains(module.ingestion.user_data, "export SUPERRES_STARTS__") && !can(regex("export SUPERRES_UNITS='[a-z ]*start-runs'", module.ingestion.user_data))
    error_message = "Without it, no instance reads the queue."
  }
}

run "public_with_all_it_takes" {
  command = apply

  variables {
    load_balancer = {
      public          = true
      allowed_cidrs   = ["203.0.113.0/24"]
      certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
      host            = "gallery.example.org"
    }
  }

  assert {
    condition     = output.page_url == "https://gallery.example.org" && strcontains(module.notifier.user_data, "export SUPERRES_NOTIFIER__PUBLIC_URL='https://gallery.example.org'\n")
    error_message = "A public gallery has its host name, with https only."
  }
}

run "public_without_a_certificate_is_refused" {
  command = plan

  variables {
    load_balancer = { public = true, allowed_cidrs = ["203.0.113.0/24"] }
  }

  expect_failures = [var.load_balancer]
}

run "public_for_nobody_in_particular_is_refused" {
  command = plan

  variables {
    load_balancer = { public = true, certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/1", host = "gallery.example.org" }
  }

  expect_failures = [var.load_balancer]
}

run "several_notifiers_on_sqlite_are_refused" {
  command = plan

  variables {
    notifier = { instances = 2 }
  }

  expect_failures = [var.notifier]
}

run "a_region_with_a_slip_is_refused" {
  command = plan

  variables {
    region = "eu-central"
  }

  expect_failures = [var.region]
}

# What must hold in every environment: run it with -var-file=environments/….tfvars for each.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  # Rendered in the modules' own tests.
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
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

  mock_resource "aws_msk_configuration" {
    defaults = { arn = "arn:aws:kafka:eu-central-1:123456789012:configuration/superres-test/1" }
  }
}

variables {
  environment = "test"
  region      = "eu-central-1"
}

run "the_parts_fit_together" {
  command = apply

  assert {
    condition     = output.name == "superres-test" && output.buckets["results"] != ""
    error_message = "Names begin with project and environment."
  }

  assert {
    condition     = output.configuration["SUPERRES_KAFKA__SECURITY"] == "iam" && output.configuration["SUPERRES_NOTIFIER__EVENTS_QUEUE_URL"] == "https://queue.invalid/queue"
    error_message = "Services are told of queue and security."
  }

  assert {
    condition     = length(module.network.private_subnet_ids) == var.zone_count
    error_message = "There is a private subnet in each zone."
  }
}

run "a_region_with_a_slip_is_refused" {
  command = plan

  variables {
    region = "eu-central"
  }

  expect_failures = [var.region]
}

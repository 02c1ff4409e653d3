# The responses of the mock for the tests of every folder.

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_region" {
  defaults = { name = "eu-central-1" }
}

# Rendered in policies.tftest.hcl.
mock_data "aws_iam_policy_document" {
  defaults = { json = "{}" }
}

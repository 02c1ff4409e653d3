# A plan of an environment without AWS, for programs: with -json -verbose Terraform prints it whole
# (tests/integration/test_deploy_cost.py).

mock_provider "aws" {
  source = "tests/mocks"

  mock_data "aws_availability_zones" {
    defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
  }

  mock_data "aws_default_tags" {
    defaults = { tags = {} }
  }
}

variables {
  package_dir = "tests/package"
}

run "plan" {
  command = plan

  assert {
    condition     = output.region == var.region
    error_message = "The plan is for the region of its values."
  }
}

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

variables {
  region       = "eu-central-1"
  trusted_arns = ["arn:aws:iam::123456789012:user/ann"]
}

run "the_role_reaches_the_project_in_one_region" {
  command = plan

  # A statement for all resources reads, or is restricted to the region, or to what has no names.
  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_policy.deploy) : [
        for each in jsondecode(policy.policy).Statement :
        each.Resource != "*" || can(each.Condition.StringEquals["aws:RequestedRegion"]) || contains([
          "AskQuotas", "CheckStateMachine", "DeliveryOfLogs", "NamesOfEndpoints", "ReadInstances", "ReadLoadBalancers",
          "ReadLogGroups", "ReadMetrics", "ReadNetwork", "SettingsOfBrokers",
        ], each.Sid)
      ]
    ]))
    error_message = "A statement for all resources must be restricted to the region, or be on the list."
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_policy.deploy) : [
        for each in jsondecode(policy.policy).Statement : [for action in flatten([each.Action]) : !strcontains(action, "*")]
      ]
    ]))
    error_message = "Actions are named one by one."
  }

  assert {
    condition     = one([for each in jsondecode(aws_iam_policy.deploy["identity"].policy).Statement : each.Condition.StringEquals["iam:PassedToService"] if each.Sid == "PassRoles"]) != null
    error_message = "Roles are passed to named services only."
  }

  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_policy.deploy) : [
        for each in jsondecode(policy.policy).Statement :
        each.Condition.BoolIfExists["ssm:SessionDocumentAccessCheck"] == "true" if contains(flatten([each.Action]), "ssm:StartSession")
      ]
    ]))
    error_message = "A session must name a document, or it is a shell."
  }

  assert {
    condition     = one(jsondecode(aws_iam_role_policy.not_itself.policy).Statement).Resource == "arn:aws:iam::123456789012:role/superres-deploy"
    error_message = "The role must not change itself."
  }

  assert {
    condition     = one(jsondecode(aws_iam_role.deploy.assume_role_policy).Statement).Principal.AWS == "arn:aws:iam::123456789012:user/ann"
    error_message = "Only those who are trusted may assume the role."
  }
}

run "nobody_is_trusted_by_default" {
  command = plan

  variables {
    trusted_arns = []
  }

  expect_failures = [var.trusted_arns]
}

run "everybody_is_refused" {
  command = plan

  variables {
    trusted_arns = ["*"]
  }

  expect_failures = [var.trusted_arns]
}

# The role that `make deploy`, `make submit` and `make destroy` run with: what permissions.yaml lists,
# for environments of one project in one region. An administrator creates it once.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  name      = "${var.project}-deploy"
  arn       = "arn:${local.partition}:iam::${local.account}:role/${local.name}"

  # A policy for each name in the file, with statements in this form.
  policies = yamldecode(templatefile("${path.module}/permissions.yaml", {
    partition = local.partition
    account   = local.account
    region    = var.region
    project   = var.project
  }))
}

# ---- who may use it

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "People"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.trusted_arns
    }
  }
}

resource "aws_iam_role" "deploy" {
  name                 = local.name
  description          = "Deploys, runs and destroys environments of ${var.project}"
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  permissions_boundary = var.permissions_boundary_arn
  # MSK takes up to an hour, and changes its brokers one by one.
  max_session_duration = 14400
}

# ---- what it may do

data "aws_iam_policy_document" "deploy" {
  for_each = local.policies

  dynamic "statement" {
    for_each = each.value

    content {
      sid       = statement.value.sid
      actions   = flatten([for service, names in statement.value.actions : [for name in names : "${service}:${name}"]])
      resources = try(statement.value.resources, ["*"])

      dynamic "condition" {
        for_each = try(statement.value.conditions, {})

        content {
          test     = "StringEquals"
          variable = condition.key
          values   = condition.value
        }
      }

      dynamic "condition" {
        for_each = try(statement.value.flags, {})

        content {
          test     = "BoolIfExists"
          variable = condition.key
          values   = [condition.value]
        }
      }
    }
  }
}

resource "aws_iam_policy" "deploy" {
  for_each = local.policies

  name        = "${local.name}-${each.key}"
  description = "What deploying ${var.project} needs: ${each.key}"
  policy      = data.aws_iam_policy_document.deploy[each.key].json

  lifecycle {
    precondition {
      condition     = length(data.aws_iam_policy_document.deploy[each.key].minified_json) <= 6144
      error_message = "The policy ${each.key} has ${length(data.aws_iam_policy_document.deploy[each.key].minified_json)} characters; IAM accepts 6144. Move statements to another in permissions.yaml."
    }
  }
}

resource "aws_iam_role_policy_attachment" "deploy" {
  for_each = local.policies

  role       = aws_iam_role.deploy.name
  policy_arn = aws_iam_policy.deploy[each.key].arn
}

# Its own name begins like those of the roles that it may change.
data "aws_iam_policy_document" "not_itself" {
  statement {
    sid    = "NotItself"
    effect = "Deny"
    actions = [
      "iam:AttachRolePolicy",
      "iam:DeleteRole",
      "iam:DeleteRolePolicy",
      "iam:DetachRolePolicy",
      "iam:PassRole",
      "iam:PutRolePolicy",
      "iam:UpdateAssumeRolePolicy",
      "iam:UpdateRole",
    ]
    resources = [local.arn]
  }
}

resource "aws_iam_role_policy" "not_itself" {
  name   = "not-itself"
  role   = aws_iam_role.deploy.name
  policy = data.aws_iam_policy_document.not_itself.json
}

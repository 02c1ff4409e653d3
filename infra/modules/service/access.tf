# What the instances may do, and who reaches them.

# ---- the role

data "aws_iam_policy_document" "trust" {
  statement {
    sid     = "Instances"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "role" {
  source_policy_documents = var.policies

  statement {
    sid       = "Release"
    actions   = ["s3:GetObject"]
    resources = [for file in var.files : "arn:${local.partition}:s3:::${var.bucket}/${file.key}"]
  }

  dynamic "statement" {
    for_each = length(var.secrets) > 0 ? ["secrets"] : []

    content {
      sid       = "Secrets"
      actions   = ["secretsmanager:GetSecretValue"]
      resources = [for secret in var.secrets : secret.arn]
    }
  }

  # The first instance that finds a secret empty gives it a value (services/install.sh).
  dynamic "statement" {
    for_each = anytrue([for secret in var.secrets : secret.fill]) ? ["secrets"] : []

    content {
      sid       = "FirstValueOfSecrets"
      actions   = ["secretsmanager:PutSecretValue"]
      resources = [for secret in var.secrets : secret.arn if secret.fill]
    }
  }

  # Only through the services that encrypt with it, never by hand.
  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt"]
    resources = [var.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for service in sort(distinct(concat(["s3", "secretsmanager"], var.decrypts_for))) : "${service}.${local.region}.amazonaws.com"]
    }
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:GenerateDataKey"]
    resources = [var.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = [for service in sort(distinct(concat(["secretsmanager"], var.encrypts_for))) : "${service}.${local.region}.amazonaws.com"]
    }
  }

  # The group is there already, so the agent need not create one or set its retention:
  # https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/create-iam-roles-for-cloudwatch-agent.html
  statement {
    sid       = "SendLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["arn:${local.partition}:logs:${local.region}:${local.account}:log-group:${var.log_group.name}:*"]
  }

  # A shell through Session Manager instead of SSH: no port, no key. These actions know no resources
  # but *, and give an instance nothing but its own end of a session:
  # https://docs.aws.amazon.com/systems-manager/latest/userguide/getting-started-create-iam-instance-profile.html
  statement {
    sid       = "Sessions"
    actions   = ["ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel"]
    resources = ["*"]
  }

  statement {
    sid       = "ReportToSystemsManager"
    actions   = ["ssm:UpdateInstanceInformation"]
    resources = ["arn:${local.partition}:ec2:${local.region}:${local.account}:instance/*"]
  }
}

resource "aws_iam_role" "this" {
  name               = var.name
  description        = "Instances of ${var.name}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "this" {
  name   = "service"
  role   = aws_iam_role.this.id
  policy = data.aws_iam_policy_document.role.json
}

resource "aws_iam_instance_profile" "this" {
  name = var.name
  role = aws_iam_role.this.name
}

# ---- the network

resource "aws_security_group" "this" {
  name        = var.name
  description = "Instances of ${var.name}"
  vpc_id      = var.vpc_id

  tags = { Name = var.name }
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  count = var.target == null ? 0 : 1

  security_group_id            = aws_security_group.this.id
  description                  = "From the load balancer"
  referenced_security_group_id = var.target.balancer_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.target.port
  to_port                      = var.target.port
}

# Images and webhook receivers lie anywhere; the services themselves refuse private addresses.
resource "aws_vpc_security_group_egress_rule" "web" {
  for_each = { http = 80, https = 443 }

  security_group_id = aws_security_group.this.id
  description       = "To services of AWS and to the web"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

mock_provider "aws" {
  source = "../../tests/mocks"

  mock_data "aws_default_tags" {
    defaults = { tags = { Project = "superres" } }
  }

  mock_data "aws_ssm_parameter" {
    defaults = { value = "ami-1" }
  }

  mock_resource "aws_iam_instance_profile" {
    defaults = { arn = "arn:aws:iam::123456789012:instance-profile/superres-test-notifier" }
  }

  mock_resource "aws_launch_template" {
    defaults = { id = "lt-1", latest_version = 7 }
  }
}

variables {
  policies = []
  settings = { SUPERRES_NOTIFIER__PUBLIC_URL = "https://it's.example" }
  secrets  = [{ unit = "notify", variable = "SUPERRES_NOTIFIER_TOKEN", id = "superres-test/token", arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:superres-test/token-??????", fill = true }]
}

run "by_default" {
  command = apply

  # Credentials of the role stay on the instance.
  assert {
    condition = (
      aws_launch_template.this.metadata_options[0].http_tokens == "required" &&
      aws_launch_template.this.metadata_options[0].http_put_response_hop_limit == 1 &&
      aws_launch_template.this.metadata_options[0].http_endpoint == "enabled"
    )
    error_message = "Metadata are given for tokens only (IMDSv2), and one hop far."
  }

  assert {
    condition     = aws_launch_template.this.block_device_mappings[0].ebs[0].encrypted == "true" && aws_launch_template.this.block_device_mappings[0].ebs[0].volume_type == "gp3"
    error_message = "The disk is encrypted."
  }

  assert {
    condition = (
      aws_cloudwatch_log_group.this.name == "/superres-test/services/notifier" && aws_cloudwatch_log_group.this.retention_in_days == 7 && aws_cloudwatch_log_group.this.kms_key_id == var.key_arn &&
      strcontains(output.user_data, "export SUPERRES_LOG_GROUP='/superres-test/services/notifier'\n")
    )
    error_message = "Journals go to an encrypted log group that forgets."
  }

  # No SSH: Session Manager comes from within.
  assert {
    condition     = aws_launch_template.this.key_name == null
    error_message = "Instances take no SSH key."
  }

  assert {
    condition = (
      aws_vpc_security_group_ingress_rule.balancer[0].referenced_security_group_id == "sg-balancer" && aws_vpc_security_group_ingress_rule.balancer[0].cidr_ipv4 == null &&
      aws_vpc_security_group_ingress_rule.balancer[0].from_port == 8080 && aws_vpc_security_group_ingress_rule.balancer[0].to_port == 8080
    )
    error_message = "Only the load balancer reaches an instance, at the service's port."
  }

  assert {
    condition     = toset([for each in aws_vpc_security_group_egress_rule.web : each.from_port]) == toset([80, 443])
    error_message = "Instances go out to the web and to services of AWS."
  }

  # A release is known by its digests.
  assert {
    condition     = alltrue([for part, file in var.files : strcontains(output.user_data, "export SUPERRES_${upper(part)}_SHA256='${file.sha256}'\n") && strcontains(output.user_data, "export SUPERRES_${upper(part)}='s3://artifacts/${file.key}'\n")])
    error_message = "Places and digests of all parts stand in the user data, so that a new release makes new instances."
  }

  assert {
    condition     = base64decode(aws_launch_template.this.user_data) == output.user_data && endswith(output.user_data, file("../../services/install.sh"))
    error_message = "The instances run services/install.sh as it is."
  }

  assert {
    condition     = strcontains(output.user_data, "export SUPERRES_NOTIFIER__PUBLIC_URL='https://it'\\''s.example'\n")
    error_message = "Settings reach the shell as they are."
  }

  assert {
    condition     = strcontains(output.user_data, "export SUPERRES_SECRETS='notify:SUPERRES_NOTIFIER_TOKEN=superres-test/token'\n")
    error_message = "The user data contain only the names of secrets."
  }

  # New ones before old ones.
  assert {
    condition = (
      aws_autoscaling_group.this.launch_template[0].version == "7" &&
      aws_autoscaling_group.this.instance_refresh[0].strategy == "Rolling" &&
      aws_autoscaling_group.this.instance_refresh[0].preferences[0].min_healthy_percentage == 100 &&
      aws_autoscaling_group.this.instance_refresh[0].preferences[0].auto_rollback == true
    )
    error_message = "A new version of the launch template replaces the instances, and none is missed meanwhile."
  }

  assert {
    condition     = aws_autoscaling_group.this.health_check_type == "ELB" && aws_autoscaling_group.this.target_group_arns == toset([var.target.group_arn]) && aws_autoscaling_group.this.min_size == 2
    error_message = "One that does not answer is replaced."
  }

  assert {
    condition = toset([for each in aws_launch_template.this.tag_specifications : each.resource_type]) == toset(["instance", "volume"]) && alltrue([
      for each in aws_launch_template.this.tag_specifications : each.tags == tomap({ Project = "superres", Name = "superres-test-notifier" })
    ])
    error_message = "Instances and disks bear tags, by which the budget counts."
  }
}

run "one_alone_goes_before_the_next_comes" {
  command = apply

  variables {
    instances     = 1
    replace_first = true
  }

  assert {
    condition     = aws_autoscaling_group.this.max_size == 1 && aws_autoscaling_group.this.instance_refresh[0].preferences[0].min_healthy_percentage == 0 && aws_autoscaling_group.this.instance_refresh[0].preferences[0].max_healthy_percentage == 100
    error_message = "There must never be two."
  }
}

run "a_unit_with_a_slip_is_refused" {
  command = plan

  variables {
    units = ["notifier"]
  }

  expect_failures = [var.units]
}

run "arm_is_refused" {
  command = plan

  variables {
    instance_type = "m7g.large"
  }

  expect_failures = [var.instance_type]
}

run "a_release_without_configuration_is_refused" {
  command = plan

  variables {
    files = { wheel = { key = "a", sha256 = "1111111111111111111111111111111111111111111111111111111111111111" } }
  }

  expect_failures = [var.files]
}

run "a_secret_among_the_settings_is_refused" {
  command = plan

  variables {
    settings = { SUPERRES_NOTIFIER_TOKEN = "0123456789abcdef" }
  }

  expect_failures = [var.settings]
}

run "without_a_load_balancer_nothing_reaches_an_instance" {
  command = apply

  variables {
    target = null
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.balancer) == 0 && length(aws_autoscaling_group.this.target_group_arns) == 0 && aws_autoscaling_group.this.health_check_type == "EC2"
    error_message = "No port is open, and EC2 checks the health of instances."
  }
}

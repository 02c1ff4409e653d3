mock_provider "aws" {
  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/superres-test/1" }
  }

  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/superres-test-page/1" }
  }

  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/app/superres-test/1/1" }
  }
}

variables {
  name          = "superres-test"
  vpc_id        = "vpc-1"
  network_cidr  = "10.20.0.0/16"
  subnet_ids    = ["subnet-1", "subnet-2"]
  allowed_cidrs = ["10.20.0.0/16"]
  targets = {
    page   = { port = 8080 }
    upload = { port = 8081, paths = ["/uploads", "/uploads/*"], drain_seconds = 120 }
  }
  default_target = "page"
}

run "inside_the_network_by_default" {
  command = apply

  assert {
    condition     = aws_lb.this.internal && aws_lb.this.drop_invalid_header_fields && aws_lb.this.desync_mitigation_mode == "strictest"
    error_message = "The load balancer is internal, and drops what no honest client sends."
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "forward" && length(aws_lb_listener.https) == 0
    error_message = "Without a certificate it speaks http, within the network."
  }

  assert {
    condition     = { for each in aws_vpc_security_group_ingress_rule.clients : each.cidr_ipv4 => each.from_port } == { "10.20.0.0/16" = 80 }
    error_message = "Only the network reaches it, at its one port."
  }

  assert {
    condition     = alltrue([for each in aws_vpc_security_group_egress_rule.targets : each.cidr_ipv4 == var.network_cidr && each.from_port == each.to_port])
    error_message = "It reaches the services' ports in the network and nothing else."
  }

  assert {
    condition     = alltrue([for each in aws_lb_target_group.this : each.health_check[0].path == "/healthz" && each.health_check[0].matcher == "200"])
    error_message = "The health check uses the path at which every service reports that it is alive."
  }

  assert {
    condition     = { for name, target in output.targets : name => [target.port, target.group_arn == aws_lb_target_group.this[name].arn, target.balancer_security_group_id == aws_security_group.this.id] } == { page = [8080, true, true], upload = [8081, true, true] }
    error_message = "Instances get their target group, their port, and the only security group that may reach it."
  }

  assert {
    condition     = tolist(tolist(aws_lb_listener_rule.this["upload"].condition)[0].path_pattern)[0].values == toset(["/uploads", "/uploads/*"]) && length(aws_lb_listener_rule.this) == 1
    error_message = "Uploads go to ingestion, everything else to the gallery."
  }

  assert {
    condition     = aws_lb.this.idle_timeout < 75
    error_message = "It must give up an idle connection before the services do (75 s), or requests get lost."
  }

  assert {
    condition     = length(aws_lb.this.access_logs) == 0 && !aws_lb.this.enable_deletion_protection
    error_message = "Records and protection are for environments that ask for them."
  }
}

run "public_with_a_certificate" {
  command = apply

  variables {
    public              = true
    certificate_arn     = "arn:aws:acm:eu-central-1:123456789012:certificate/1"
    allowed_cidrs       = ["203.0.113.0/24", "198.51.100.0/24"]
    deletion_protection = true
    access_logs         = { bucket = "logs" }
  }

  assert {
    condition     = !aws_lb.this.internal && aws_lb.this.enable_deletion_protection && aws_lb.this.access_logs[0].enabled && aws_lb.this.access_logs[0].bucket == "logs"
    error_message = "It is public, protected and recorded where asked for."
  }

  assert {
    condition     = aws_lb_listener.http.default_action[0].type == "redirect" && aws_lb_listener.http.default_action[0].redirect[0].protocol == "HTTPS"
    error_message = "http does nothing but send people to https."
  }

  assert {
    condition     = aws_lb_listener.https[0].certificate_arn == var.certificate_arn && strcontains(aws_lb_listener.https[0].ssl_policy, "TLS13-1-2")
    error_message = "https takes TLS 1.2 and newer."
  }

  assert {
    condition     = aws_lb_listener_rule.this["upload"].listener_arn == aws_lb_listener.https[0].arn
    error_message = "Uploads are taken by https, not by http."
  }

  assert {
    condition = toset([for each in aws_vpc_security_group_ingress_rule.clients : "${each.cidr_ipv4} ${each.from_port}"]) == toset([
      "203.0.113.0/24 80", "203.0.113.0/24 443", "198.51.100.0/24 80", "198.51.100.0/24 443",
    ])
    error_message = "Only whom allowed_cidrs names may connect, at 80 and 443."
  }
}

run "public_without_a_certificate_is_refused" {
  command = plan

  variables {
    public = true
  }

  expect_failures = [var.public]
}

run "nobody_allowed_is_refused" {
  command = plan

  variables {
    allowed_cidrs = []
  }

  expect_failures = [var.allowed_cidrs]
}

run "no_network_is_refused" {
  command = plan

  variables {
    allowed_cidrs = ["everyone"]
  }

  expect_failures = [var.allowed_cidrs]
}

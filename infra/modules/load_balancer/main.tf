# One load balancer for all that answers browsers: the notifier, and ingestion's uploads.

locals {
  # Without a certificate there is only http, which is for inside the network alone.
  encrypted = var.certificate_arn != null
  ports     = local.encrypted ? { http = 80, https = 443 } : { http = 80 }
  rules     = { for pair in setproduct(keys(local.ports), var.allowed_cidrs) : "${pair[0]} ${pair[1]}" => { port = local.ports[pair[0]], cidr = pair[1] } }
  listener  = local.encrypted ? aws_lb_listener.https[0].arn : aws_lb_listener.http.arn
}

# ---- who reaches it

resource "aws_security_group" "this" {
  name        = "${var.name}-balancer"
  description = "Load balancer"
  vpc_id      = var.vpc_id

  tags = { Name = "${var.name}-balancer" }
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each = local.rules

  security_group_id = aws_security_group.this.id
  description       = "Browsers and programs, ${each.value.port == 80 && local.encrypted ? "to be sent to https" : "to the services"}"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

# To the services' ports in the network; the services' security groups restrict it further.
resource "aws_vpc_security_group_egress_rule" "targets" {
  for_each = var.targets

  security_group_id = aws_security_group.this.id
  description       = "To ${each.key}"
  cidr_ipv4         = var.network_cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
}

# ---- the load balancer

resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_150:Protected where the environment asks for it; others can be destroyed at any time.
  #checkov:skip=CKV_AWS_91:Recorded where the environment asks for it.
  #checkov:skip=CKV2_AWS_28:A web application firewall blocks what the services reject themselves, and costs more than they do.

  name               = var.name
  load_balancer_type = "application"
  internal           = !var.public
  subnets            = var.subnet_ids
  security_groups    = [aws_security_group.this.id]

  drop_invalid_header_fields = true
  desync_mitigation_mode     = "strictest"
  enable_deletion_protection = var.deletion_protection
  # Less than the 75 seconds that the services keep a connection, or it would find some just closed;
  # event streams send something every 15 seconds.
  idle_timeout = 60

  dynamic "access_logs" {
    for_each = var.access_logs == null ? [] : [var.access_logs]

    content {
      enabled = true
      bucket  = access_logs.value.bucket
      prefix  = "balancer"
    }
  }
}

resource "aws_lb_target_group" "this" {
  for_each = var.targets

  #checkov:skip=CKV_AWS_378:Only the private network is between balancer and instances; certificates on instances would have to be renewed.

  name        = "${var.name}-${each.key}"
  vpc_id      = var.vpc_id
  target_type = "instance"
  protocol    = "HTTP"
  port        = each.value.port
  # What an instance has begun to answer may be finished.
  deregistration_delay = each.value.drain_seconds

  health_check {
    # Checks the process, not Kafka or a database: their failures must not replace instances.
    path                = "/healthz"
    matcher             = "200"
    interval            = 15
    timeout             = 10
    healthy_threshold   = 2
    unhealthy_threshold = 4
  }
}

# ---- listeners

resource "aws_lb_listener" "http" {
  #checkov:skip=CKV_AWS_2:Redirects to https where there is a certificate, which whatever is public must have.
  #checkov:skip=CKV_AWS_103:The same.

  load_balancer_arn = aws_lb.this.arn
  port              = 80
  protocol          = "HTTP"

  default_action {
    type             = local.encrypted ? "redirect" : "forward"
    target_group_arn = local.encrypted ? null : aws_lb_target_group.this[var.default_target].arn

    dynamic "redirect" {
      for_each = local.encrypted ? ["https"] : []

      content {
        protocol    = "HTTPS"
        port        = "443"
        status_code = "HTTP_301"
      }
    }
  }
}

resource "aws_lb_listener" "https" {
  count = local.encrypted ? 1 : 0

  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  certificate_arn   = var.certificate_arn
  # TLS 1.2 and 1.3 with forward secrecy and nothing older:
  # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/describe-ssl-policies.html
  ssl_policy = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[var.default_target].arn
  }
}

resource "aws_lb_listener_rule" "this" {
  for_each = { for name, target in var.targets : name => target if length(target.paths) > 0 }

  listener_arn = local.listener

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }

  condition {
    path_pattern {
      values = each.value.paths
    }
  }
}

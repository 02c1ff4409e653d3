output "dns_name" {
  description = "Name of the load balancer."
  value       = aws_lb.this.dns_name
}

output "arn_suffix" {
  description = "What CloudWatch calls the load balancer."
  value       = aws_lb.this.arn_suffix
}

# There once something leads to them.
output "targets" {
  description = "By name: the target for modules/service, and the target group's name in CloudWatch."
  value = {
    for name, group in aws_lb_target_group.this : name => {
      group_arn                  = group.arn
      group_arn_suffix           = group.arn_suffix
      port                       = var.targets[name].port
      balancer_security_group_id = aws_security_group.this.id
    }
  }

  depends_on = [aws_lb_listener.http, aws_lb_listener.https, aws_lb_listener_rule.this]
}

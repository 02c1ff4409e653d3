output "topic_arn" {
  description = "ARN of the topic that alarms go to; there once its policy is."
  value       = aws_sns_topic.alarms.arn

  depends_on = [aws_sns_topic_policy.alarms]
}

output "dashboard_name" {
  description = "Name of the dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "alarm_names" {
  description = "Names of all alarms."
  value       = local.alarm_names

  depends_on = [aws_cloudwatch_metric_alarm.above, aws_cloudwatch_metric_alarm.below, aws_cloudwatch_metric_alarm.no_capacity]
}

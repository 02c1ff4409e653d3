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
  value       = sort(concat([for alarm in aws_cloudwatch_metric_alarm.above : alarm.alarm_name], [for alarm in aws_cloudwatch_metric_alarm.below : alarm.alarm_name]))
}

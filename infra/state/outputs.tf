output "bucket" {
  description = "Name of the bucket, for terraform init -backend-config of the other root."
  value       = aws_s3_bucket.state.id

  depends_on = [aws_s3_bucket_policy.state, aws_s3_bucket_versioning.state]
}

output "buckets" {
  description = "Names of the buckets: raw, work, results, artifacts, logs."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.id }

  # Writing needs the policies, and what is written before the bucket encrypts with our key, or before it
  # keeps versions, stays as it is:
  # https://docs.aws.amazon.com/AmazonS3/latest/userguide/default-bucket-encryption.html
  depends_on = [
    aws_s3_bucket_policy.this,
    aws_s3_bucket_server_side_encryption_configuration.this,
    aws_s3_bucket_versioning.this,
  ]
}

output "bucket_arns" {
  description = "ARNs of the same buckets."
  value       = local.arns

  depends_on = [
    aws_s3_bucket_policy.this,
    aws_s3_bucket_server_side_encryption_configuration.this,
    aws_s3_bucket_versioning.this,
  ]
}

output "dataset" {
  description = "The directories of config.yaml's section dataset, and ingestion.uploads_dir, as s3:// URIs."
  value = {
    high_resolution_dir      = "s3://${local.buckets["raw"]}/high_resolution"
    low_resolution_dir       = "s3://${local.buckets["raw"]}/low_resolution"
    uploads_dir              = "s3://${local.buckets["raw"]}/uploads"
    patches_dir              = "s3://${local.buckets["work"]}"
    inference_result_dir     = "s3://${local.buckets["work"]}"
    reconstructed_images_dir = "s3://${local.buckets["results"]}"
  }
}

output "key_arn" {
  description = "ARN of the key that encrypts everything; there once its policy is."
  value       = aws_kms_key.data.arn

  depends_on = [aws_kms_key_policy.data]
}

output "evaluations" {
  description = "ARN, URL and name of the queue with events of finished images."
  value       = module.evaluations.queue
}

output "evaluations_dead_letters" {
  description = "ARN, URL and name of its dead-letter queue."
  value       = module.evaluations.dead_letters
}

output "evaluations_policy" {
  description = "The policy of that queue, for tests."
  value       = module.evaluations.policy
}

output "key_policy" {
  description = "The policy of the key, for tests."
  value       = data.aws_iam_policy_document.key.json
}

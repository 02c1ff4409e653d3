mock_provider "aws" {
  source = "../tests/mocks"
}

variables {
  region = "eu-central-1"
}

run "by_default" {
  command = apply

  # The state is private and encrypted.
  assert {
    condition = (
      aws_s3_bucket_public_access_block.state.block_public_acls && aws_s3_bucket_public_access_block.state.block_public_policy &&
      aws_s3_bucket_public_access_block.state.ignore_public_acls && aws_s3_bucket_public_access_block.state.restrict_public_buckets
    )
    error_message = "Public access must be blocked in all four ways."
  }

  assert {
    condition     = one(aws_s3_bucket_server_side_encryption_configuration.state.rule).apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms"
    error_message = "The state must be encrypted with a key of KMS."
  }

  # The state can be brought back.
  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled" && !aws_s3_bucket.state.force_destroy
    error_message = "Every version of the state must be kept, and destroying must fail on a bucket that holds one."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.state.rule[0].noncurrent_version_expiration[0].noncurrent_days == 90 && length(aws_s3_bucket_lifecycle_configuration.state.rule[0].expiration) == 0
    error_message = "Old versions go after a quarter of a year; the state itself never."
  }

  # The name is known before.
  assert {
    condition     = aws_s3_bucket.state.bucket == "superres-state-123456789012-eu-central-1"
    error_message = "The name must follow from project, account and region, so that it can be found again."
  }
}

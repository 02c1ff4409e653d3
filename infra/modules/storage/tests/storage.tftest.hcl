mock_provider "aws" {
  source = "../../tests/mocks"

  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/data" }
  }

  mock_resource "aws_sqs_queue" {
    defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:superres-test-evaluations" }
  }
}

variables {
  name = "superres-test"
}

run "by_default" {
  command = apply

  # Every bucket is private.
  assert {
    condition = toset(keys(aws_s3_bucket_public_access_block.this)) == toset(["raw", "work", "results", "artifacts", "logs"]) && alltrue([
      for each in aws_s3_bucket_public_access_block.this :
      each.block_public_acls && each.block_public_policy && each.ignore_public_acls && each.restrict_public_buckets
    ])
    error_message = "Every bucket must block public access in all four ways."
  }

  assert {
    condition = toset(keys(aws_s3_bucket_ownership_controls.this)) == toset(keys(aws_s3_bucket.this)) && alltrue([
      for each in aws_s3_bucket_ownership_controls.this : each.rule[0].object_ownership == "BucketOwnerEnforced"
    ])
    error_message = "Access lists must be off: the account owns what lies in its buckets."
  }

  # Every bucket is encrypted.
  assert {
    condition = alltrue([
      for name in ["raw", "work", "results", "artifacts"] : alltrue([
        for rule in aws_s3_bucket_server_side_encryption_configuration.this[name].rule :
        rule.bucket_key_enabled && rule.apply_server_side_encryption_by_default[0].sse_algorithm == "aws:kms" && rule.apply_server_side_encryption_by_default[0].kms_master_key_id == aws_kms_key.data.arn
      ])
    ])
    error_message = "Images, tables and artifacts must be encrypted with the customer key, through a bucket key."
  }

  assert {
    condition     = alltrue([for rule in aws_s3_bucket_server_side_encryption_configuration.this["logs"].rule : rule.apply_server_side_encryption_by_default[0].sse_algorithm == "AES256"])
    error_message = "AWS cannot deliver logs into a bucket with a customer key."
  }

  assert {
    condition     = aws_kms_key.data.enable_key_rotation
    error_message = "The key must be rotated."
  }

  # What matters is versioned.
  assert {
    condition = toset(keys(aws_s3_bucket_versioning.this)) == toset(["raw", "results", "artifacts"]) && alltrue([
      for each in aws_s3_bucket_versioning.this : each.versioning_configuration[0].status == "Enabled"
    ])
    error_message = "Images, results and artifacts must be versioned."
  }

  # What is done with goes.
  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.this["work"].rule : try(rule.expiration[0].days, 0) if rule.id == "tables-of-runs" && rule.filter[0].prefix == ""]) == 3
    error_message = "All tables of a run must go after 3 days."
  }

  assert {
    condition = toset(keys(aws_s3_bucket_lifecycle_configuration.this)) == toset(keys(aws_s3_bucket.this)) && alltrue([
      for each in aws_s3_bucket_lifecycle_configuration.this : anytrue([
        for rule in each.rule : rule.status == "Enabled" && rule.filter[0].prefix == "" && try(rule.abort_incomplete_multipart_upload[0].days_after_initiation, 0) == 3
      ])
    ])
    error_message = "Incomplete uploads must be cleaned up in every bucket."
  }

  assert {
    condition = alltrue([
      for name in keys(aws_s3_bucket_versioning.this) : anytrue([
        for rule in aws_s3_bucket_lifecycle_configuration.this[name].rule : try(rule.noncurrent_version_expiration[0].noncurrent_days, 0) > 0
        ]) && anytrue([
        for rule in aws_s3_bucket_lifecycle_configuration.this[name].rule : try(rule.expiration[0].expired_object_delete_marker, false)
      ])
    ])
    error_message = "A versioned bucket must lose its old versions and delete markers, or it grows for ever."
  }

  assert {
    condition = alltrue(flatten([
      for name in ["raw", "results"] : [
        for rule in aws_s3_bucket_lifecycle_configuration.this[name].rule :
        rule.filter[0].prefix == "uploads/" if try(rule.expiration[0].days, 0) > 0
      ]
    ]))
    error_message = "Of images and results only uploads, which were copied, may expire."
  }

  # Finished images are announced.
  assert {
    condition = [for each in aws_s3_bucket_notification.results.queue : [each.queue_arn, each.filter_prefix, each.filter_suffix, each.events]] == [[
      output.evaluations.arn, "evaluations/", ".json", toset(["s3:ObjectCreated:*"])
    ]]
    error_message = "Only evaluations are announced, however they are written."
  }

  assert {
    condition     = aws_s3_bucket_notification.results.bucket == aws_s3_bucket.this["results"].id
    error_message = "The events come from the bucket results."
  }

  assert {
    condition     = aws_s3_bucket_notification.raw.bucket == aws_s3_bucket.this["raw"].id && aws_s3_bucket_notification.raw.eventbridge
    error_message = "EventBridge hears of what is stored in the bucket raw."
  }

  # Directories lie in the buckets.
  assert {
    condition = output.dataset == {
      high_resolution_dir      = "s3://superres-test-raw-123456789012-eu-central-1/high_resolution"
      low_resolution_dir       = "s3://superres-test-raw-123456789012-eu-central-1/low_resolution"
      uploads_dir              = "s3://superres-test-raw-123456789012-eu-central-1/uploads"
      patches_dir              = "s3://superres-test-work-123456789012-eu-central-1"
      inference_result_dir     = "s3://superres-test-work-123456789012-eu-central-1"
      reconstructed_images_dir = "s3://superres-test-results-123456789012-eu-central-1"
    }
    error_message = "The directories must be those of the storage layout."
  }

  # Images survive a mistake.
  assert {
    condition     = alltrue([for each in aws_s3_bucket.this : !each.force_destroy])
    error_message = "Without force_destroy, destroying must fail on a bucket that is not empty."
  }
}

run "a_long_name_is_refused" {
  command = plan

  variables {
    name = "a-name-too-long-for-a-bucket"
  }

  expect_failures = [var.name]
}

# What goes when. Each rule has its reason; nothing else is ever deleted.

locals {
  lifecycle = {
    raw = [
      # The consumer has copied an upload by the time that Kafka forgets its reference (7 days).
      { id = "uploads-were-copied", prefix = "uploads/", days = 8 },
      # The jobs read the newest version; older ones are kept to undo mistakes.
      { id = "old-versions", noncurrent_days = var.noncurrent_days },
    ]
    work = [
      # A run's tables are needed until its images are evaluated; another run writes them again.
      { id = "tables-of-runs", days = var.work_days },
    ]
    results = [
      # --redo deletes records and writes over images; within this time it can be undone.
      { id = "old-versions", noncurrent_days = var.noncurrent_days },
    ]
    artifacts = [
      # An instance that starts may ask for the release before the last one.
      { id = "old-versions", noncurrent_days = 90 },
    ]
    logs = [
      # Long enough to look back on an incident.
      { id = "logs", days = var.log_days },
    ]
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  #checkov:skip=CKV_AWS_300:The rule incomplete-uploads below does; checkov looks at the dynamic rules alone.

  for_each = local.lifecycle

  bucket = aws_s3_bucket.this[each.key].id

  dynamic "rule" {
    for_each = each.value

    content {
      id     = rule.value.id
      status = "Enabled"

      filter {
        prefix = try(rule.value.prefix, "")
      }

      dynamic "expiration" {
        for_each = can(rule.value.days) ? [rule.value.days] : []

        content {
          days = expiration.value
        }
      }

      dynamic "noncurrent_version_expiration" {
        for_each = can(rule.value.noncurrent_days) ? [rule.value.noncurrent_days] : []

        content {
          noncurrent_days = noncurrent_version_expiration.value
        }
      }
    }
  }

  # Parts of uploads that were never completed are billed and shown nowhere, and the S3 connector of
  # EMR does not clean up: a killed executor leaves them. No step of a run lasts this long.
  rule {
    id     = "incomplete-uploads"
    status = "Enabled"

    filter {
      prefix = ""
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 3
    }
  }

  # What was deleted and has no older version left would be listed by S3 for ever.
  dynamic "rule" {
    for_each = contains(local.versioned, each.key) ? ["delete markers"] : []

    content {
      id     = "delete-markers"
      status = "Enabled"

      filter {
        prefix = ""
      }

      expiration {
        expired_object_delete_marker = true
      }
    }
  }

  # Noncurrent versions are only there once versioning is.
  depends_on = [aws_s3_bucket_versioning.this]
}

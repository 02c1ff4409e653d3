# An evaluation record is written last, so its event means: this image is finished.

module "evaluations" {
  source = "../queue"

  name    = "${var.name}-evaluations"
  key_arn = aws_kms_key.data.arn

  senders = {
    AllowEventsOfResults = {
      service    = "s3.amazonaws.com"
      source_arn = local.arns["results"]
    }
  }
}

# One resource owns all notifications of a bucket: a second one elsewhere would remove these.
resource "aws_s3_bucket_notification" "results" {
  bucket = aws_s3_bucket.this["results"].id

  queue {
    id            = "evaluations"
    queue_arn     = module.evaluations.queue.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "evaluations/"
    filter_suffix = ".json"
  }

  # S3 sends a test event at once, and refuses a queue or key that it may not use.
  depends_on = [aws_kms_key_policy.data]
}

# All of its events go to EventBridge, where modules/orchestration picks out new images:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-event-notifications-eventbridge.html
resource "aws_s3_bucket_notification" "raw" {
  bucket      = aws_s3_bucket.this["raw"].id
  eventbridge = true
}

# What every test of this folder begins with; Terraform reads it by its name.

name    = "superres-test-evaluations"
key_arn = "arn:aws:kms:eu-central-1:123456789012:key/data"
senders = {
  AllowEventsOfResults = {
    service    = "s3.amazonaws.com"
    source_arn = "arn:aws:s3:::results"
  }
}

# The real provider renders the policies, from names alone. A plan of what is new asks AWS nothing.
provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  skip_region_validation      = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  region = "eu-central-1"
}

run "the_bucket_refuses_http_and_old_tls" {
  command = plan

  assert {
    condition = { for each in jsondecode(aws_s3_bucket_policy.state.policy).Statement : each.Sid => [each.Effect, each.Action, toset(each.Resource), each.Condition] } == {
      DenyPlainTransport = ["Deny", "s3:*", toset(["arn:aws:s3:::superres-state-123456789012-eu-central-1", "arn:aws:s3:::superres-state-123456789012-eu-central-1/*"]), { Bool = { "aws:SecureTransport" = "false" } }]
      DenyOldTransport   = ["Deny", "s3:*", toset(["arn:aws:s3:::superres-state-123456789012-eu-central-1", "arn:aws:s3:::superres-state-123456789012-eu-central-1/*"]), { NumericLessThan = { "s3:TlsVersion" = "1.2" } }]
    }
    error_message = "Requests without TLS 1.2 must be denied, to the bucket and to its objects, and no one is allowed anything beyond IAM."
  }
}

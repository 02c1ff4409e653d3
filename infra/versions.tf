terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # Bucket, key and region come with terraform init -backend-config (README.md). The lock is a file
  # beside the state. No `encrypt` here: it would ask for S3's key instead of the bucket's of KMS.
  backend "s3" {
    use_lockfile = true
  }
}

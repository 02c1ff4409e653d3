# EMR, which runs the jobs. One specification (cluster.tf) defines the persistent cluster (persistent.tf)
# or the transient one that the state machine creates (transient.tf). The arguments of jobs are in
# steps.tf, permissions in roles.tf, network access in firewall.tf.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

# A transient cluster is not made by the provider, which would give it these.
data "aws_default_tags" "current" {}

locals {
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition
  region    = data.aws_region.current.name

  buckets = { for name, arn in var.bucket_arns : name => split(":::", arn)[1] }
  log_uri = "s3://${local.buckets["logs"]}/emr/"

  # Built from names, not read from resources, so that a plan shows complete policies.
  service_role_name = "${var.name}-emr"
  node_role_name    = "${var.name}-emr-nodes"
  service_role_arn  = "arn:${local.partition}:iam::${local.account}:role/${local.service_role_name}"
  node_role_arn     = "arn:${local.partition}:iam::${local.account}:role/${local.node_role_name}"

  # AmazonEMRServicePolicy_v2 lets EMR touch only what bears this tag:
  # https://docs.aws.amazon.com/emr/latest/ManagementGuide/emr-managed-iam-policies.html
  emr_tag = { "for-use-with-amazon-emr-managed-policies" = "true" }
}

# ---- encryption

resource "aws_emr_security_configuration" "this" {
  #checkov:skip=CKV_AWS_351:EMR encrypts between nodes with a certificate and its private key from S3. Instances of these types encrypt all that passes between them by themselves (Nitro), S3 is reached by TLS, and no other host reaches a node.

  name_prefix = "${var.name}-"

  configuration = jsonencode({
    EncryptionConfiguration = {
      EnableInTransitEncryption = false
      EnableAtRestEncryption    = true
      AtRestEncryptionConfiguration = {
        # Settings of EMRFS, which releases from 7.10 on translate into those of S3A; whether 8.x, which has no
        # EMRFS, still does is not documented. It does not matter: without them the bucket encrypts with the
        # same key whatever is put there.
        # https://docs.aws.amazon.com/emr/latest/ReleaseGuide/emr-s3a-migrate.html
        S3EncryptionConfiguration = {
          EncryptionMode = "SSE-KMS"
          AwsKmsKey      = var.key_arn
        }
        LocalDiskEncryptionConfiguration = {
          EncryptionKeyProviderType = "AwsKms"
          AwsKmsKey                 = var.key_arn
          EnableEbsEncryption       = true
        }
      }
    }
    # One hop: a container of YARN with a network of its own gets no credentials of the node.
    InstanceMetadataServiceConfiguration = {
      MinimumInstanceMetadataServiceVersion = 2
      HttpPutResponseHopLimit               = 1
    }
  })

  lifecycle {
    # It cannot be changed, nor deleted while a cluster has it.
    create_before_destroy = true
  }
}

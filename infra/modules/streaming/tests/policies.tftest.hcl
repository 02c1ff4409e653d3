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
  name       = "superres-test"
  vpc_id     = "vpc-1"
  subnet_ids = ["subnet-1", "subnet-2", "subnet-3"]
  key_arn    = "arn:aws:kms:eu-central-1:123456789012:key/data"
}

run "clients_may_do_what_they_do_and_no_more" {
  command = plan

  assert {
    condition = { for each in jsondecode(output.client_policy).Statement : each.Sid => [toset(flatten([each.Action])), toset(flatten([each.Resource]))] } == {
      FindBrokers = [toset(["kafka:GetBootstrapBrokers"]), toset(["arn:aws:kafka:eu-central-1:123456789012:cluster/superres-test/*"])]
      Connect = [
        toset(["kafka-cluster:Connect", "kafka-cluster:DescribeCluster", "kafka-cluster:WriteDataIdempotently"]),
        toset(["arn:aws:kafka:eu-central-1:123456789012:cluster/superres-test/*"]),
      ]
      Topics = [
        toset(["kafka-cluster:CreateTopic", "kafka-cluster:DescribeTopic", "kafka-cluster:ReadData", "kafka-cluster:WriteData"]),
        toset([
          "arn:aws:kafka:eu-central-1:123456789012:topic/superres-test/*/images-topic",
          "arn:aws:kafka:eu-central-1:123456789012:topic/superres-test/*/images-topic-dead-letter",
        ]),
      ]
      Groups = [
        toset(["kafka-cluster:AlterGroup", "kafka-cluster:DescribeGroup"]),
        toset([
          "arn:aws:kafka:eu-central-1:123456789012:group/superres-test/*/superres-consumer",
          "arn:aws:kafka:eu-central-1:123456789012:group/superres-test/*/superres-consumer-*",
        ]),
      ]
    }
    error_message = "A client may use its two topics and its groups on this cluster; it may delete and alter nothing."
  }
}

# What every test of this folder begins with; Terraform reads it by its name.

name              = "superres-test"
vpc_id            = "vpc-1"
vpc_cidr          = "10.20.0.0/16"
subnet_ids        = ["subnet-1", "subnet-2"]
s3_prefix_list_id = "pl-1"
key_arn           = "arn:aws:kms:eu-central-1:123456789012:key/data"

bucket_arns = {
  raw       = "arn:aws:s3:::raw"
  work      = "arn:aws:s3:::work"
  results   = "arn:aws:s3:::results"
  artifacts = "arn:aws:s3:::artifacts"
  logs      = "arn:aws:s3:::logs"
}

package = {
  config    = "s3://artifacts/releases/1/environments/test.yaml"
  jobs      = { for job in ["mass_split", "batch_inference", "mass_reconstruct", "evaluate", "fused"] : job => "s3://artifacts/releases/1/jobs/${job}.py" }
  bootstrap = { send_logs = "s3://artifacts/releases/1/bootstrap/send_logs.sh", install_fsrcnn = "s3://artifacts/releases/1/bootstrap/install_fsrcnn.sh", enable_gpu_scheduling = "s3://artifacts/releases/1/bootstrap/enable_gpu_scheduling.sh" }
  wheel     = { uri = "s3://artifacts/releases/1/wheel/superres.whl", sha256 = "aa" }
  wheelhouses = {
    cpu = { uri = "s3://artifacts/wheelhouses/cpu.tar", sha256 = "bb" }
    gpu = { uri = "s3://artifacts/wheelhouses/gpu.tar", sha256 = "cc" }
  }
}

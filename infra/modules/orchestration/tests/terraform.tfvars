# What every test of this folder begins with; Terraform reads it by its name.

name    = "superres-test"
key_arn = "arn:aws:kms:eu-central-1:123456789012:key/data"

run_job_flow = { Name = "superres-test", Instances = { KeepJobFlowAliveWhenNoSteps = true } }
role_arns    = { service = "arn:aws:iam::123456789012:role/superres-test-emr", nodes = "arn:aws:iam::123456789012:role/superres-test-emr-nodes" }
log_uri      = "s3://logs/emr/"
bucket_arns  = { raw = "arn:aws:s3:::raw", work = "arn:aws:s3:::work" }
cluster_id   = "j-1"
steps        = { for job in ["mass_split", "batch_inference", "mass_reconstruct", "evaluate", "fused"] : job => ["spark-submit", "--conf", "spark.a=${job}", "s3://artifacts/${job}.py"] }

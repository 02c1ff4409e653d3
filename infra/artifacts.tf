# Uploads the package of `make package` and the config.yaml of this environment. Keys contain a release
# or a digest, so that new objects do not replace old ones while instances are replaced.

locals {
  manifest = jsondecode(file("${var.package_dir}/manifest.json"))
  bucket   = module.storage.buckets["artifacts"]
  files    = { for file in local.manifest.files : file.key => file }

  # ---- config.yaml: that of the package, with locations and the settings of the environment

  config_layers = [
    yamldecode(file("${var.package_dir}/${local.files[local.manifest.config].path}")),
    {
      dataset = {
        for key in ["high_resolution_dir", "low_resolution_dir", "patches_dir", "inference_result_dir", "reconstructed_images_dir"] :
        key => module.storage.dataset[key]
      }
      ingestion  = { uploads_dir = module.storage.dataset.uploads_dir }
      processing = { device = var.processing.device }
    },
    var.config,
  ]
  config = {
    for section in distinct(flatten([for layer in local.config_layers : keys(layer)])) :
    section => merge([for layer in local.config_layers : lookup(layer, section, {})]...)
  }
  config_text = yamlencode(local.config)
  config_key  = "releases/${local.manifest.release}/environments/${var.environment}-${substr(sha256(local.config_text), 0, 12)}.yaml"

  # ---- keys for other modules, which depend on the uploaded objects

  uploaded = {
    for key, object in aws_s3_object.package : key => {
      key    = object.key
      uri    = "s3://${object.bucket}/${object.key}"
      sha256 = local.files[key].sha256
    }
  }
  uploaded_config = {
    key    = aws_s3_object.config.key
    uri    = "s3://${aws_s3_object.config.bucket}/${aws_s3_object.config.key}"
    sha256 = sha256(local.config_text)
  }

  cluster_files = {
    config      = local.uploaded_config.uri
    jobs        = { for job, key in local.manifest.jobs : job => local.uploaded[key].uri }
    bootstrap   = { for script, key in local.manifest.bootstrap : script => local.uploaded[key].uri }
    wheel       = local.uploaded[local.manifest.wheel]
    wheelhouses = { for role in ["cpu", "gpu"] : role => local.uploaded[local.manifest.wheelhouses[role]] if can(local.manifest.wheelhouses[role]) }
  }

  service_files = {
    for role in ["ingestion", "notifier"] : role => {
      wheel      = local.uploaded[local.manifest.wheel]
      wheelhouse = local.uploaded[local.manifest.wheelhouses[role]]
      config     = local.uploaded_config
    }
  }
}

# Encrypted by the bucket itself.
resource "aws_s3_object" "package" {
  #checkov:skip=CKV_AWS_186:The bucket encrypts with our key whatever is put there.

  for_each = local.files

  bucket      = local.bucket
  key         = each.key
  source      = "${var.package_dir}/${each.value.path}"
  source_hash = each.value.sha256
}

resource "aws_s3_object" "config" {
  #checkov:skip=CKV_AWS_186:The bucket encrypts with our key whatever is put there.

  bucket       = local.bucket
  key          = local.config_key
  content      = local.config_text
  content_type = "application/yaml"
}

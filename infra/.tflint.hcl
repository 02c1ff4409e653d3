# The rules for Terraform itself; those for AWS come as a download that needs its publisher's site.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

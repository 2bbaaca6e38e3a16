# What differs here from the defaults in variables.tf; Terraform reads it by itself (docs/deployment.md). No secrets.

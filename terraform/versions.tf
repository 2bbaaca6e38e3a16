terraform {
  # 1.11: write-only arguments, through which a secret's value reaches Google without reaching the state.
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }
  # The bucket comes from bootstrap: terraform init -backend-config=bucket=<project>-terraform
  backend "gcs" {
    prefix = "renderiq"
  }
}

provider "google" {
  project = var.project_id
  region  = var.region
}

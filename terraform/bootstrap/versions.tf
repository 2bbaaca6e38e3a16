terraform {
  required_version = ">= 1.11"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 8.7"
    }
  }
  # Applied once by a person; its state may move into the bucket that it makes.
  backend "local" {}
}

provider "google" {
  project = var.project_id
  region  = var.region
}

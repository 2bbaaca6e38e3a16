output "state_bucket" {
  description = "Where Terraform's state is kept."
  value       = google_storage_bucket.state.name
}

output "image_repository" {
  description = "Where images are pushed."
  value       = "${google_artifact_registry_repository.images.location}-docker.pkg.dev/${var.project_id}/${google_artifact_registry_repository.images.repository_id}"
}

output "builder" {
  description = "The account that builds run as."
  value       = google_service_account.builder.email
}

output "deployer" {
  description = "The account that Terraform acts as."
  value       = google_service_account.deployer.email
}

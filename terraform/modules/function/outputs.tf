output "name" {
  description = "The service's name."
  value       = google_cloud_run_v2_service.this.name
}

output "uri" {
  description = "Its URL; of no use for a public one, which only the load balancer reaches."
  value       = google_cloud_run_v2_service.this.uri
}

output "audience" {
  description = "What a token must be for to call it; null for a public one."
  value       = var.public ? null : local.audience
}

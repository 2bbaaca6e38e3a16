output "edge_address" {
  description = "Where the domain's A record must point."
  value       = google_compute_global_address.edge.address
}

output "base_url" {
  description = "What plugins are configured with."
  value       = "https://${var.domain}/api/plugins"
}

output "queue_console" {
  description = "The Cloud Tasks console, where a task can be looked at and forced to run."
  value       = "https://console.cloud.google.com/cloudtasks?project=${var.project_id}"
}

output "dashboard_console" {
  description = "The metrics."
  value       = "https://console.cloud.google.com/monitoring/dashboards?project=${var.project_id}"
}

output "database" {
  description = "The Cloud SQL instance, as connectors name it."
  value       = google_sql_database_instance.main.connection_name
}

output "connections" {
  description = "How many database connections the functions may open, and how many there are."
  value = {
    at_most      = local.connections_of_functions
    in_a_rollout = local.connections_in_a_rollout
    available    = var.database.max_connections - var.database.reserved_connections
  }
}

output "service_accounts" {
  description = "The account of each function."
  value       = { for name, account in local.account_of : name => google_service_account.function[account].email }
}

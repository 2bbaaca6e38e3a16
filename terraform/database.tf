# PostgreSQL: the truth. People and functions log in by IAM; there is no password.

locals {
  # Every thread of every instance may hold one connection. Service-wide maximums hold during a rollout too, but an
  # instance that drains keeps its connections for a while: a quarter more.
  connections_of_functions = sum(concat([0], [for name, row in local.table :
    contains(row.needs, "database") ? local.sizes[name].max_instances * local.sizes[name].concurrency : 0
  ]))
  connections_in_a_rollout = ceil(local.connections_of_functions * 1.25)

  # PostgreSQL knows a service account by its address without the domain's last part.
  database_users = { for account in local.database_accounts : account => trimsuffix(google_service_account.function[account].email, ".gserviceaccount.com") }
}

resource "google_sql_database_instance" "main" {
  name                = "renderiq"
  region              = var.region
  database_version    = "POSTGRES_18"
  deletion_protection = var.database.deletion_protection
  settings {
    tier                        = var.database.tier
    edition                     = "ENTERPRISE"
    availability_type           = var.database.highly_available ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = var.database.disk_gb
    disk_autoresize             = true
    deletion_protection_enabled = var.database.deletion_protection
    # Only through a connector, which brings IAM and TLS.
    connector_enforcement = "REQUIRED"
    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.main.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }
    backup_configuration {
      enabled                        = true
      start_time                     = "03:00"
      location                       = var.region
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = var.database.log_retention_days
      backup_retention_settings {
        retained_backups = var.database.backups
        retention_unit   = "COUNT"
      }
    }
    maintenance_window {
      day          = 7
      hour         = 4
      update_track = "stable"
    }
    database_flags {
      name  = "cloudsql.iam_authentication"
      value = "on"
    }
    database_flags {
      name  = "max_connections"
      value = tostring(var.database.max_connections)
    }
    database_flags {
      name  = "log_checkpoints"
      value = "on"
    }
    database_flags {
      name  = "log_lock_waits"
      value = "on"
    }
    insights_config {
      query_insights_enabled = true
    }
  }
  lifecycle {
    precondition {
      condition     = local.connections_in_a_rollout <= var.database.max_connections - var.database.reserved_connections
      error_message = "The functions may open ${local.connections_in_a_rollout} connections in a rollout; the database has ${var.database.max_connections - var.database.reserved_connections} for them."
    }
    # It grows by itself.
    ignore_changes = [settings[0].disk_size]
  }
  depends_on = [google_service_networking_connection.services]
}

resource "google_sql_database" "main" {
  name            = "renderiq"
  instance        = google_sql_database_instance.main.name
  deletion_policy = "ABANDON"
}

# What owns the database is a member of cloudsqlsuperuser; so may the migrator make and own the schema.
resource "google_sql_user" "migrator" {
  instance       = google_sql_database_instance.main.name
  name           = trimsuffix(google_service_account.migrator.email, ".gserviceaccount.com")
  type           = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles = ["cloudsqlsuperuser"]
}

# The operator's commands may what functions may.
resource "google_sql_user" "operator" {
  instance       = google_sql_database_instance.main.name
  name           = trimsuffix(google_service_account.operator.email, ".gserviceaccount.com")
  type           = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles = ["app"]
  depends_on     = [google_cloud_run_v2_job.migrate]
}

# `app` is made by the first migration; what it may not do is in the migrations.
resource "google_sql_user" "function" {
  for_each       = local.database_users
  instance       = google_sql_database_instance.main.name
  name           = each.value
  type           = "CLOUD_IAM_SERVICE_ACCOUNT"
  database_roles = ["app"]
  depends_on     = [google_cloud_run_v2_job.migrate]
}

# The migrations run inside the apply, before any function of the new image: so the very first apply works too.
# Creating or changing the job runs it, and Terraform waits for its end; a failure fails the apply there.

resource "google_cloud_run_v2_job" "migrate" {
  name                = "migrate"
  location            = var.region
  deletion_protection = false
  # The name of an execution, and as unique: an image that comes back (a roll-back) is another deployment.
  run_execution_token = "${substr(split("@sha256:", var.image)[1], 0, 12)}-${substr(md5(var.deployment), 0, 8)}"
  template {
    template {
      service_account = google_service_account.migrator.email
      timeout         = "1800s"
      max_retries     = 1
      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          subnetwork = google_compute_subnetwork.functions.id
        }
      }
      containers {
        image   = var.image
        command = ["python", "-m", "alembic"]
        args    = ["upgrade", "head"]
        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }
        dynamic "env" {
          for_each = merge(local.settings_of_need.database, { DB_USER = google_sql_user.migrator.name })
          content {
            name  = env.key
            value = env.value
          }
        }
      }
    }
  }
  timeouts {
    create = "70m"
    update = "70m"
  }
  depends_on = [google_project_iam_member.database]
}

# The sweep mends what a crash left between a commit and its task.

resource "google_cloud_scheduler_job" "sweep" {
  name             = "sweep"
  description      = "Enqueues what is due and has no live task; expires what is overdue."
  region           = var.region
  schedule         = "* * * * *"
  time_zone        = "Etc/UTC"
  attempt_deadline = "${local.sizes.tasks_sweep.timeout_seconds + 5}s"
  retry_config {
    retry_count = 1
  }
  http_target {
    uri         = "${module.function["tasks_sweep"].uri}${local.table.tasks_sweep.path}"
    http_method = "POST"
    oidc_token {
      service_account_email = google_service_account.tasks.email
      audience              = module.function["tasks_sweep"].audience
    }
  }
}

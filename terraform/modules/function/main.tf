# One endpoint: a Cloud Run service that the console shows as a function.

locals {
  # An audience of its own, so that the queues that call it need not know its URL before it exists.
  audience = "renderiq-${var.name}"
}

resource "google_cloud_run_v2_service" "this" {
  name                 = var.name
  description          = var.description
  location             = var.region
  ingress              = var.public ? "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER" : "INGRESS_TRAFFIC_INTERNAL_ONLY"
  invoker_iam_disabled = var.public
  default_uri_disabled = var.public
  custom_audiences     = var.public ? null : [local.audience]
  deletion_protection  = false
  build_config {
    function_target = "main"
  }
  # On the service, for all revisions together: the template's would be for each.
  scaling {
    min_instance_count = var.size.min_instances
    max_instance_count = var.size.max_instances
  }
  template {
    service_account                  = var.service_account
    timeout                          = "${var.size.timeout_seconds}s"
    max_instance_request_concurrency = var.size.concurrency
    annotations                      = var.restarted_at == "" ? null : { "renderiq/restarted-at" = var.restarted_at }
    dynamic "vpc_access" {
      for_each = var.subnetwork == null ? [] : [var.subnetwork]
      content {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          subnetwork = vpc_access.value
        }
      }
    }
    containers {
      image = var.image
      resources {
        limits            = { cpu = var.size.cpu, memory = var.size.memory }
        cpu_idle          = true
        startup_cpu_boost = true
      }
      dynamic "env" {
        for_each = merge(var.settings, var.public ? {} : { TASK_AUDIENCE = local.audience }, {
          FUNCTION_SOURCE = var.function_source
          FUNCTION_TARGET = "main"
          # The server's threads, and the database pool that is as large.
          THREADS = tostring(var.size.concurrency)
        })
        content {
          name  = env.key
          value = env.value
        }
      }
      dynamic "env" {
        for_each = var.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }
      # Asks the function to reach its database: the way there may take a minute to open, and a port that
      # listens does not tell.
      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 5
        failure_threshold = 24
        http_get {
          path = "/-/ready"
          port = 8080
        }
      }
    }
  }
}

resource "google_cloud_run_v2_service_iam_member" "invoker" {
  count    = var.public ? 0 : 1
  name     = google_cloud_run_v2_service.this.name
  location = var.region
  role     = "roles/run.invoker"
  member   = var.invoker
}

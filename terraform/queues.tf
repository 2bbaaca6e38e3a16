# The rows in the database are the outbox; a queue only brings them up in time. Its retries are for infrastructure:
# what a receiver or an engine answers is settled by the function, and never the queue's to try again.

locals {
  delivery_queues = [for shard in range(var.queues.delivery_queues) : "deliveries-${shard}"]
  queues = merge(
    {
      renders = {
        function   = "tasks_run_render"
        per_second = var.queues.renders_per_second
        concurrent = local.capacity.tasks_run_render
      }
    },
    { for name in local.delivery_queues : name => {
      function   = "tasks_deliver_webhook"
      per_second = var.queues.deliveries_per_second
      concurrent = floor(local.capacity.tasks_deliver_webhook / var.queues.delivery_queues)
    } },
  )
  # How many tasks the workers can hold at once.
  capacity = { for name in keys(local.internal) : name => local.sizes[name].max_instances * local.sizes[name].concurrency }
  # Written out, for a queue refers to its function and a function to the queues it fills.
  queue_ids = { for name in keys(local.queues) : name => "projects/${var.project_id}/locations/${var.region}/queues/${name}" }
}

resource "google_cloud_tasks_queue" "main" {
  for_each = local.queues
  name     = each.key
  location = var.region
  rate_limits {
    max_dispatches_per_second = each.value.per_second
    max_concurrent_dispatches = each.value.concurrent
  }
  retry_config {
    max_attempts  = 20
    min_backoff   = "1s"
    max_backoff   = "30s"
    max_doublings = 5
  }
  # Wherever a task says that it goes, it goes here.
  http_target {
    http_method = "POST"
    uri_override {
      scheme                    = "HTTPS"
      host                      = trimprefix(module.function[each.value.function].uri, "https://")
      uri_override_enforce_mode = "ALWAYS"
      path_override {
        path = local.table[each.value.function].path
      }
    }
    oidc_token {
      service_account_email = google_service_account.tasks.email
      audience              = module.function[each.value.function].audience
    }
  }
  stackdriver_logging_config {
    sampling_ratio = 1
  }
  lifecycle {
    precondition {
      condition     = each.value.concurrent >= 1
      error_message = "The workers of ${each.key} cannot hold one task a queue: raise their max_instances or concurrency."
    }
  }
}

# What should wake somebody. As PromQL without validation of the metric: a threshold on a log-based metric that has
# no point yet is refused by Google, so that the first apply would fail.

locals {
  slow_ms = 1000
  # A caller who prefers to wait is not served slowly.
  never_waits = [for name, row in local.public : name if !row.waits]

  alerts = {
    failing = {
      title    = "More than 2 % of the requests fail"
      severity = "CRITICAL"
      lasting  = "300s"
      query    = "sum(rate(${local.failed_requests}[5m])) / sum(rate(${local.counted.requests}[5m])) > 0.02 and sum(rate(${local.counted.requests}[5m])) > 0.05"
      help     = "Look at the newest errors of the function that fails, then at the database. `docs/runbook.md`, \"Requests fail\"."
    }
    slow = {
      title    = "A function's 95th percentile is above ${local.slow_ms} ms"
      severity = "WARNING"
      lasting  = "900s"
      query    = "histogram_quantile(0.95, sum by (le, function) (rate(${replace(local.counted.request_ms, "}", ",function=~\"${join("|", local.never_waits)}\"}")}[10m]))) > ${local.slow_ms}"
      help     = "`docs/runbook.md`, \"Requests are slow\"."
    }
    renders_fail = {
      title    = "More than a quarter of the renders fail"
      severity = "CRITICAL"
      lasting  = "0s"
      query    = "sum(increase(${local.failed_renders}[30m])) / sum(increase(${local.counted.renders_ended}[30m])) > 0.25 and sum(increase(${local.failed_renders}[30m])) > 5"
      help     = "Their code tells whether it is the engine, the bucket, or workers that are lost. `docs/runbook.md`, \"Renders fail\"."
    }
    late = {
      title    = "Due tasks are taken up more than a minute late"
      severity = "WARNING"
      lasting  = "600s"
      query    = "histogram_quantile(0.99, sum by (le, queue_id) (rate(${local.delays}[10m]))) > 60000"
      help     = "A queue is paused, or its workers are too few. `docs/runbook.md`, \"Deliveries or renders are late\"."
    }
    tasks_fail = {
      title    = "Internal tasks fail again and again"
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum(increase(${replace(local.counted.tasks, "}", ",status=~\"5..\"}")}[15m])) > 20"
      help     = "Cloud Tasks tries them again, so nothing is lost; but one may never succeed. `docs/runbook.md`, \"Tasks fail\"."
    }
    dead_letters = {
      title    = "More than 20 deliveries were given up in an hour"
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum(increase(${local.counted.dead_letters}[1h])) > 20"
      help     = "One receiver, or all? `docs/runbook.md`, \"Dead letters\"."
    }
    secrets_sealed = {
      title    = "No configured key opens a webhook's secret"
      severity = "CRITICAL"
      lasting  = "0s"
      query    = "sum(increase(${local.counted.secrets_sealed}[15m])) > 0"
      help     = "Deliveries wait for the key, and are not lost. `docs/runbook.md`, \"A webhook's secret cannot be opened\"."
    }
    credits_differ = {
      title    = "An account's balance, entries and renders do not agree"
      severity = "CRITICAL"
      lasting  = "0s"
      query    = "sum(increase(${local.counted.credits_differ}[1d])) > 0"
      help     = "Money: the log line names the account and the difference. `docs/runbook.md`, \"Credits differ\"."
    }
    connections = {
      title    = "The database has more than 80 % of its connections open"
      severity = "WARNING"
      lasting  = "300s"
      query    = "sum(${local.sql}) > ${floor(var.database.max_connections * 0.8)}"
      help     = "`docs/scaling.md` tells what to change; max_instances first."
    }
    mending = {
      title    = "The sweep finds due work that nobody takes up, again and again"
      severity = "WARNING"
      lasting  = "0s"
      query    = "sum(increase(${local.counted.mended}[30m])) > 20"
      help     = "A queue is paused, or tasks get lost between commit and queue (\"a hook after the commit failed\" in the log). `docs/runbook.md`, \"Deliveries or renders are late\"."
    }
    no_sweep = {
      title    = "The sweep has not run for ten minutes"
      severity = "CRITICAL"
      lasting  = "600s"
      query    = "absent(rate(${replace(local.counted.tasks, "}", ",function=\"tasks_sweep\",status=\"204\"}")}[10m]) > 0)"
      help     = "Look at the scheduler job `sweep`, then at the function tasks-sweep."
    }
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each     = var.alert_emails
  display_name = each.value
  type         = "email"
  labels       = { email_address = each.value }
}

resource "google_monitoring_alert_policy" "main" {
  for_each              = local.alerts
  display_name          = each.value.title
  severity              = each.value.severity
  combiner              = "OR"
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  conditions {
    display_name = each.value.title
    condition_prometheus_query_language {
      query                     = each.value.query
      duration                  = each.value.lasting
      evaluation_interval       = "60s"
      disable_metric_validation = true
    }
  }
  documentation {
    content   = each.value.help
    mime_type = "text/markdown"
  }
  alert_strategy {
    auto_close = "86400s"
  }
  depends_on = [google_logging_metric.count, google_logging_metric.time]
}

resource "google_monitoring_uptime_check_config" "health" {
  display_name = "Health, from outside"
  period       = "60s"
  timeout      = "10s"
  http_check {
    path           = local.table.health.path
    port           = 443
    use_ssl        = true
    validate_ssl   = true
    request_method = "GET"
    accepted_response_status_codes {
      status_value = 200
    }
  }
  content_matchers {
    matcher = "MATCHES_JSON_PATH"
    content = "\"ok\""
    json_path_matcher {
      json_path    = "$.status"
      json_matcher = "EXACT_MATCH"
    }
  }
  monitored_resource {
    type   = "uptime_url"
    labels = { host = var.domain, project_id = var.project_id }
  }
}

resource "google_monitoring_alert_policy" "down" {
  display_name          = "The health endpoint does not answer from outside"
  severity              = "CRITICAL"
  combiner              = "OR"
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]
  conditions {
    display_name = "Two regions or more see it fail"
    condition_threshold {
      filter          = "metric.type=\"monitoring.googleapis.com/uptime_check/check_passed\" AND resource.type=\"uptime_url\" AND metric.labels.check_id=\"${google_monitoring_uptime_check_config.health.uptime_check_id}\""
      comparison      = "COMPARISON_GT"
      threshold_value = 1
      duration        = "120s"
      aggregations {
        alignment_period     = "120s"
        per_series_aligner   = "ALIGN_NEXT_OLDER"
        cross_series_reducer = "REDUCE_COUNT_FALSE"
        group_by_fields      = ["resource.label.host"]
      }
    }
  }
  documentation {
    content   = "`docs/runbook.md`, \"It is down\"."
    mime_type = "text/markdown"
  }
}

# The promise: of 1,000 requests at the edge, 999 are not failed by us, over four weeks.
resource "google_monitoring_custom_service" "api" {
  service_id   = "plugin-api"
  display_name = "Renderiq Plugin API"
}

resource "google_monitoring_slo" "availability" {
  service             = google_monitoring_custom_service.api.service_id
  slo_id              = "availability"
  display_name        = "99.9 % of the requests are not failed by us"
  goal                = 0.999
  rolling_period_days = 28
  request_based_sli {
    good_total_ratio {
      total_service_filter = "metric.type=\"loadbalancing.googleapis.com/https/request_count\" resource.type=\"https_lb_rule\" resource.labels.url_map_name=\"${google_compute_url_map.edge.name}\""
      bad_service_filter   = "metric.type=\"loadbalancing.googleapis.com/https/request_count\" resource.type=\"https_lb_rule\" resource.labels.url_map_name=\"${google_compute_url_map.edge.name}\" metric.labels.response_code_class=500"
    }
  }
}

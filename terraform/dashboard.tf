# One page: is it well, what is it doing, what are receivers doing, what is near its limit.

locals {
  # How PromQL writes a log-based metric, and a metric of Google's. A distribution is asked by its buckets. What may be
  # of several resource types, as log-based metrics may, is refused unless the query says which
  # (https://cloud.google.com/monitoring/promql/promql-mapping).
  of_run = "monitored_resource=\"cloud_run_revision\""
  counted = merge(
    { for name in keys(local.log_metrics) : name => "logging_googleapis_com:user_renderiq_${name}{${local.of_run}}" },
    { for name in keys(local.log_times) : name => "logging_googleapis_com:user_renderiq_${name}_bucket{${local.of_run}}" },
  )
  failed_requests  = replace(local.counted.requests, "}", ",status=~\"5..\"}")
  refused_requests = replace(local.counted.requests, "}", ",status=~\"[45]..\"}")
  failed_renders   = replace(local.counted.renders_ended, "}", ",status=\"failed\"}")
  failed_attempts  = replace(local.counted.deliveries, "}", ",error_class!=\"\"}")

  sql    = "cloudsql_googleapis_com:database_postgresql_num_backends{monitored_resource=\"cloudsql_database\"}"
  depth  = "cloudtasks_googleapis_com:queue_depth{monitored_resource=\"cloud_tasks_queue\"}"
  delays = "cloudtasks_googleapis_com:queue_task_attempt_delays_bucket{monitored_resource=\"cloud_tasks_queue\"}"

  charts = [
    { title = "Requests a second, by function", unit = "", query = "sum by (function) (rate(${local.counted.requests}[5m]))" },
    { title = "Refused and failed, by status", unit = "", query = "sum by (status) (rate(${local.refused_requests}[5m]))" },
    { title = "95th percentile of a request, ms", unit = "ms", query = "histogram_quantile(0.95, sum by (le, function) (rate(${local.counted.request_ms}[5m])))" },
    { title = "Renders an hour, by platform", unit = "", query = "sum by (platform) (increase(${local.counted.renders}[1h]))" },
    { title = "Renders ended an hour, by status", unit = "", query = "sum by (status) (increase(${local.counted.renders_ended}[1h]))" },
    { title = "Requests with an API key, by platform", unit = "", query = "sum by (platform) (rate(${local.counted.key_use}[5m]))" },
    { title = "Delivery attempts an hour, by outcome", unit = "", query = "sum by (outcome) (increase(${local.counted.deliveries}[1h]))" },
    { title = "Failed attempts an hour, by error class", unit = "", query = "sum by (error_class) (increase(${local.failed_attempts}[1h]))" },
    { title = "Dead letters a day", unit = "", query = "sum(increase(${local.counted.dead_letters}[1d]))" },
    { title = "Webhooks found hopeless, a day", unit = "", query = "sum(increase(${local.counted.webhooks_disabled}[1d]))" },
    { title = "95th percentile of a receiver's answer, ms", unit = "ms", query = "histogram_quantile(0.95, sum by (le, outcome) (rate(${local.counted.delivery_ms}[5m])))" },
    { title = "Tasks waiting, by queue", unit = "", query = "sum by (queue_id) (${local.depth})" },
    { title = "How late tasks are taken up, 99th percentile, ms", unit = "ms", query = "histogram_quantile(0.99, sum by (le, queue_id) (rate(${local.delays}[5m])))" },
    { title = "Task answers, by function and status", unit = "", query = "sum by (function, status) (rate(${local.counted.tasks}[5m]))" },
    { title = "Sweeps an hour that had to mend", unit = "", query = "sum(increase(${local.counted.mended}[1h]))" },
    { title = "Database connections of ${var.database.max_connections}", unit = "", query = "sum(${local.sql})" },
  ]
}

resource "google_monitoring_dashboard" "main" {
  dashboard_json = jsonencode({
    displayName = "Renderiq Plugin API"
    mosaicLayout = {
      columns = 48
      tiles = [for index, chart in local.charts : {
        xPos   = (index % 3) * 16
        yPos   = floor(index / 3) * 14
        width  = 16
        height = 14
        widget = {
          title = chart.title
          xyChart = {
            dataSets = [{ plotType = "LINE", timeSeriesQuery = { prometheusQuery = chart.query, unitOverride = chart.unit } }]
          }
        }
      }]
    }
  })
}

# What the structured log says, counted. Every `event` and field is one that the code logs: a test compares.

locals {
  log_metrics = {
    requests = {
      description = "Requests that a function answered."
      filter      = "jsonPayload.event=\"request\""
      labels      = { function = "function", status = "status", code = "code", platform = "platform" }
    }
    renders = {
      description = "Renders that were accepted, by the plugin's platform."
      filter      = "jsonPayload.event=\"request\" AND jsonPayload.function=\"renders_create\" AND jsonPayload.status=202"
      labels      = { platform = "platform" }
    }
    renders_ended = {
      description = "Renders that ended, by how, and why when they failed."
      filter      = "jsonPayload.event=\"render_ended\""
      labels      = { status = "status", code = "code" }
    }
    deliveries = {
      description = "Attempts to deliver, by what became of the delivery and the class of the error."
      filter      = "jsonPayload.event=\"delivery\""
      labels      = { outcome = "outcome", error_class = "errorClass" }
    }
    dead_letters = {
      description = "Deliveries that were given up."
      filter      = "jsonPayload.event=\"delivery_dead\""
      labels      = { error_class = "errorClass" }
    }
    webhooks_disabled = {
      description = "Webhooks that were found hopeless."
      filter      = "jsonPayload.event=\"webhook_disabled\""
      labels      = {}
    }
    secrets_sealed = {
      description = "Deliveries that wait, for no configured key opens their webhook's secret."
      filter      = "jsonPayload.event=\"webhook_secret_sealed\""
      labels      = {}
    }
    key_use = {
      description = "Requests made with an API key, by platform and function. Which key is in the log, not here."
      filter      = "jsonPayload.event=\"request\" AND jsonPayload.keyId:*"
      labels      = { platform = "platform", function = "function" }
    }
    tasks = {
      description = "Internal tasks, by function and status."
      filter      = "jsonPayload.event=\"task\""
      labels      = { function = "function", status = "status" }
    }
    credits_differ = {
      description = "Accounts whose balance, entries and renders do not agree, as each night's comparison finds them."
      filter      = "jsonPayload.event=\"credits_differ\""
      labels      = {}
    }
    mended = {
      description = "Sweeps that found renders or deliveries due which nobody had taken up."
      filter      = "jsonPayload.event=\"sweep\" AND (jsonPayload.deliveries>0 OR jsonPayload.renders>0)"
      labels      = {}
    }
  }
  # Distributions of milliseconds.
  log_times = {
    request_ms  = { description = "How long a function worked on a request.", filter = "jsonPayload.event=\"request\"", labels = { function = "function" } }
    delivery_ms = { description = "How long a receiver took.", filter = "jsonPayload.event=\"delivery\"", labels = { outcome = "outcome" } }
  }
  of_functions = "resource.type=\"cloud_run_revision\""
}

resource "google_logging_metric" "count" {
  for_each         = local.log_metrics
  name             = "renderiq_${each.key}"
  description      = each.value.description
  filter           = "${local.of_functions} AND ${each.value.filter}"
  label_extractors = { for label, field in each.value.labels : label => "EXTRACT(jsonPayload.${field})" }
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
    unit        = "1"
    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }
}

resource "google_logging_metric" "time" {
  for_each         = local.log_times
  name             = "renderiq_${each.key}"
  description      = each.value.description
  filter           = "${local.of_functions} AND ${each.value.filter}"
  value_extractor  = "EXTRACT(jsonPayload.ms)"
  label_extractors = { for label, field in each.value.labels : label => "EXTRACT(jsonPayload.${field})" }
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "DISTRIBUTION"
    unit        = "ms"
    dynamic "labels" {
      for_each = each.value.labels
      content {
        key        = labels.key
        value_type = "STRING"
      }
    }
  }
  # 1 ms to about two minutes.
  bucket_options {
    exponential_buckets {
      num_finite_buckets = 40
      growth_factor      = 1.35
      scale              = 1
    }
  }
}

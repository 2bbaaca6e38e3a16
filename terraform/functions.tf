# One Cloud Run service for each row of functions.json, all of the same image.

locals {
  table    = { for row in jsondecode(file("${path.module}/functions.json")).functions : row.name => row }
  public   = { for name, row in local.table : name => row if !row.internal }
  internal = { for name, row in local.table : name => row if row.internal }

  # Cloud Run's names have hyphens where Python's have underscores.
  service_names = { for name in keys(local.table) : name => replace(name, "_", "-") }

  # What the work itself asks for. A render takes all of an instance; a delivery mostly waits for a receiver.
  work = {
    tasks_run_render      = { cpu = "2", memory = "4Gi", concurrency = 1, max_instances = 10, timeout_seconds = 300 }
    tasks_deliver_webhook = { concurrency = 16, max_instances = 4 }
    tasks_sweep           = { concurrency = 2, max_instances = 1, timeout_seconds = 300 }
  }
  sizes = { for name in keys(local.table) : name => {
    for setting, usual in var.service : setting => coalesce(
      try(var.functions[name][setting], null), try(local.work[name][setting], null), usual
    )
  } }

  # A setting goes to those whose code reads it (a test follows the code); a null is left out, so that the code's own
  # default holds.
  settings_of_callers = merge(local.settings_of_plugins, {
    TOKEN_ISSUER             = var.credentials.token_issuer
    TOKEN_AUDIENCE           = var.credentials.token_audience
    OIDC_ISSUER              = var.credentials.oidc_issuer
    OIDC_AUDIENCE            = var.credentials.oidc_audience
    USER_RATE_PER_MINUTE     = var.limits.user
    PLATFORM_RATE_PER_MINUTE = var.limits.platform
    FAILURES_PER_MINUTE      = var.limits.failures
  })
  settings_of_plugins = {
    MINIMUM_PLUGIN_VERSIONS = local.minimum_versions
    PLUGIN_DOWNLOAD_URL     = var.plugins.download_url
  }
  settings_of_internal = {
    TASK_ACCOUNT = google_service_account.tasks.email
    TASK_IAM     = "1"
  }
  settings_of_need = {
    database = {
      INSTANCE_CONNECTION_NAME = google_sql_database_instance.main.connection_name
      DB_NAME                  = google_sql_database.main.name
    }
    delivery_queues = { DELIVERY_QUEUES = join(",", [for name in local.delivery_queues : local.queue_ids[name]]) }
    engine          = { GEMINI_LOCATION = var.engines.gemini_location }
    render_queue    = { RENDER_QUEUE = local.queue_ids.renders }
    storage         = { GCS_BUCKET = google_storage_bucket.media.name, GOOGLE_CLOUD_PROJECT = var.project_id }
    storage_read    = { GCS_BUCKET = google_storage_bucket.media.name, GCS_CDN_DOMAIN = var.cdn_domain }
    storage_upload  = { GCS_BUCKET = google_storage_bucket.media.name, GCS_CDN_DOMAIN = var.cdn_domain }
    token_jwks      = {}
    token_key       = { TOKEN_ISSUER = var.credentials.token_issuer, TOKEN_AUDIENCE = var.credentials.token_audience }
    webhook_secrets = {}
  }
  settings_of_function = {
    auth_refresh = merge(local.settings_of_plugins, { FAILURES_PER_MINUTE = var.limits.failures })
    auth_signin = merge(local.settings_of_plugins, {
      SIGNINS_PER_MINUTE_OF_ADDRESS             = var.limits.signins_of_address
      SIGNINS_PER_MINUTE_OF_ACCOUNT             = var.limits.signins_of_account
      SIGNINS_PER_MINUTE_OF_ACCOUNT_AND_ADDRESS = var.limits.signins_of_account_and_address
    })
    credits_get           = { GEMINI_MODEL = var.engines.gemini_model }
    health                = { RENDERIQ_VERSION = var.release, MINIMUM_PLUGIN_VERSIONS = local.minimum_versions }
    keys_create           = { API_KEY_PREFIX = var.credentials.api_key_prefix }
    keys_rotate           = { API_KEY_PREFIX = var.credentials.api_key_prefix }
    renders_create        = { GEMINI_MODEL = var.engines.gemini_model, OUTPUT_RETENTION_DAYS = var.retention.results_days }
    renders_get           = { OUTPUT_RETENTION_DAYS = var.retention.results_days }
    renders_list          = { OUTPUT_RETENTION_DAYS = var.retention.results_days }
    tasks_deliver_webhook = { WEBHOOK_RETRY_DELAYS_S = join(",", var.webhook_retry_delays) }
    tasks_run_render      = { GEMINI_MODEL = var.engines.gemini_model, OUTPUT_RETENTION_DAYS = var.retention.results_days }
  }
  minimum_versions = join(",", [for platform, version in var.plugins.minimum_versions : "${platform}=${version}"])
}

module "function" {
  source   = "./modules/function"
  for_each = local.table

  name            = local.service_names[each.key]
  description     = each.value.summary
  region          = var.region
  image           = var.image
  function_source = "/app/functions/${each.key}/main.py"
  restarted_at    = var.restarted_at
  size            = local.sizes[each.key]
  public          = !each.value.internal
  invoker         = each.value.internal ? google_service_account.tasks.member : null
  service_account = google_service_account.function[local.account_of[each.key]].email
  # Only who needs the database has a way into the network.
  subnetwork = contains(each.value.needs, "database") ? google_compute_subnetwork.functions.id : null

  settings = { for name, value in merge(
    contains(["public", "internal"], each.value.scope) ? null : local.settings_of_callers,
    each.value.internal ? local.settings_of_internal : null,
    contains(each.value.needs, "database") ? { DB_USER = local.database_users[local.account_of[each.key]] } : null,
    contains(local.signing_accounts, local.account_of[each.key]) ? { STORAGE_SIGNING_ACCOUNT = google_service_account.function[local.account_of[each.key]].email } : null,
    lookup(local.settings_of_function, each.key, null),
    merge([for need in each.value.needs : local.settings_of_need[need]]...),
  ) : name => value if value != null && value != "" }
  secrets = merge([for need in each.value.needs : local.needs[need].secrets]...)

  depends_on = [
    google_cloud_run_v2_job.migrate,
    google_project_iam_member.database,
    google_secret_manager_secret_iam_member.function,
    google_secret_manager_secret_version.first,
    google_sql_user.function,
  ]
}

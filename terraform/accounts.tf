# Who the functions are, and what they may. One account for each distinct set of needs, and on the one bucket,
# queue, secret and database only.

locals {
  # What a need of the table is granted. `code` stands in the account's name, which has at most 30 characters. Who only
  # signs URLs never talks to the bucket: their roles hold below the one folder that the URLs are of. Who talks to it has
  # to be allowed to list, which no folder's condition lets: else an object that is not there is refused, not missing.
  needs = {
    database        = { code = "db", bucket_role = null, signs_below = null, queues = [], secrets = {} }
    delivery_queues = { code = "dq", bucket_role = null, signs_below = null, queues = local.delivery_queues, secrets = {} }
    engine          = { code = "eng", bucket_role = null, signs_below = null, queues = [], secrets = {} }
    render_queue    = { code = "rq", bucket_role = null, signs_below = null, queues = ["renders"], secrets = {} }
    storage         = { code = "st", bucket_role = "roles/storage.objectUser", signs_below = null, queues = [], secrets = {} }
    storage_read    = { code = "sr", bucket_role = "roles/storage.objectViewer", signs_below = "renders/", queues = [], secrets = {} }
    storage_upload  = { code = "su", bucket_role = "roles/storage.objectCreator", signs_below = "uploads/", queues = [], secrets = {} }
    token_jwks      = { code = "jwk", bucket_role = null, signs_below = null, queues = [], secrets = { TOKEN_JWKS = "token-jwks" } }
    token_key       = { code = "key", bucket_role = null, signs_below = null, queues = [], secrets = { TOKEN_PRIVATE_KEY = "token-private-key" } }
    webhook_secrets = { code = "whs", bucket_role = null, signs_below = null, queues = [], secrets = { WEBHOOK_SECRET_KEYS = "webhook-secret-keys" } }
  }

  # What needs nothing has an account too, without any role: it must not run as the project's default account.
  account_of = { for name, row in local.table : name => coalesce(join("-", sort([for need in row.needs : local.needs[need].code])), "none") }
  accounts   = { for name, account in local.account_of : account => local.table[name].needs... }
  grants = merge([for account, needs in local.accounts : {
    for need in needs[0] : "${account}/${need}" => { account = account, need = need }
  }]...)

  database_accounts = toset([for grant in local.grants : grant.account if grant.need == "database"])
  signing_accounts  = toset([for grant in local.grants : grant.account if local.needs[grant.need].signs_below != null])
  queue_grants = merge([for grant in local.grants : {
    for queue in local.needs[grant.need].queues : "${grant.account}/${queue}" => { account = grant.account, queue = queue }
  }]...)
  secret_grants = merge([for key, grant in local.grants : {
    for secret in values(local.needs[grant.need].secrets) : "${grant.account}/${secret}" => { account = grant.account, secret = secret }
  }]...)
}

resource "google_service_account" "function" {
  for_each     = local.accounts
  account_id   = "function-${each.key}"
  display_name = "Functions that need ${coalesce(join(", ", each.value[0]), "nothing")}"
  lifecycle {
    precondition {
      condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", "function-${each.key}"))
      error_message = "The account function-${each.key} is no account id: shorten the codes of its needs."
    }
  }
}

resource "google_service_account" "tasks" {
  account_id   = "tasks-caller"
  display_name = "Cloud Tasks and Cloud Scheduler, as they call the internal functions"
}

resource "google_service_account" "migrator" {
  account_id   = "migrator"
  display_name = "Owns the database's schema"
}

resource "google_service_account" "operator" {
  account_id   = "operator"
  display_name = "A person's commands: python -m tools.accounts (docs/runbook.md)"
}

resource "google_project_iam_member" "database" {
  for_each = merge([for role in ["roles/cloudsql.client", "roles/cloudsql.instanceUser"] : merge(
    { for account in local.database_accounts : "${account}/${role}" => { member = google_service_account.function[account].member, role = role } },
    { "migrator/${role}" = { member = google_service_account.migrator.member, role = role } },
    { "operator/${role}" = { member = google_service_account.operator.member, role = role } },
  )]...)
  project = var.project_id
  role    = each.value.role
  member  = each.value.member
  condition {
    title       = "only-our-database"
    description = "Cloud SQL has no policy of its own on an instance; this is how a role is held to one."
    expression  = "resource.name == 'projects/${var.project_id}/instances/${google_sql_database_instance.main.name}' && resource.service == 'sqladmin.googleapis.com'"
  }
}

# Vertex AI has no policy of its own on a model: whoever makes pictures may ask any.
resource "google_project_iam_member" "engine" {
  for_each = toset([for grant in local.grants : grant.account if grant.need == "engine" && var.engines.gemini_model != null])
  project  = var.project_id
  role     = "roles/aiplatform.user"
  member   = google_service_account.function[each.value].member
}

resource "google_storage_bucket_iam_member" "function" {
  for_each = { for key, grant in local.grants : key => grant if local.needs[grant.need].bucket_role != null }
  bucket   = google_storage_bucket.media.name
  role     = local.needs[each.value.need].bucket_role
  member   = google_service_account.function[each.value.account].member
  dynamic "condition" {
    for_each = [for prefix in [local.needs[each.value.need].signs_below] : prefix if prefix != null]
    content {
      title      = "only-${trimsuffix(condition.value, "/")}"
      expression = "resource.name.startsWith('projects/_/buckets/${google_storage_bucket.media.name}/objects/${condition.value}')"
    }
  }
}

# signBlob: an account signs URLs as itself, so that no key file exists.
resource "google_service_account_iam_member" "signs_as_itself" {
  for_each           = local.signing_accounts
  service_account_id = google_service_account.function[each.value].name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.function[each.value].member
}

resource "google_cloud_tasks_queue_iam_member" "function" {
  for_each = local.queue_grants
  name     = google_cloud_tasks_queue.main[each.value.queue].name
  location = var.region
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.function[each.value.account].member
}

resource "google_secret_manager_secret_iam_member" "function" {
  for_each  = local.secret_grants
  secret_id = google_secret_manager_secret.main[each.value.secret].id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.function[each.value.account].member
}

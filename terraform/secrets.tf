# Values never stand in the state: the first version is written through an ephemeral variable, and whoever rotates
# a secret adds versions beside Terraform (docs/runbook.md).

locals {
  # A secret is called as its variable is: no value can get into another's place.
  secret_ids = { for name in ["token_private_key", "token_jwks", "webhook_secret_keys"] : replace(name, "_", "-") => name }
}

resource "google_secret_manager_secret" "main" {
  for_each            = local.secret_ids
  secret_id           = each.key
  deletion_protection = true
  replication {
    user_managed {
      replicas {
        location = var.region
      }
    }
  }
}

resource "google_secret_manager_secret_version" "first" {
  for_each       = local.secret_ids
  secret         = google_secret_manager_secret.main[each.key].id
  secret_data_wo = var.first_secrets[each.value]
  # Never raised: a value sent with a later apply is ignored.
  secret_data_wo_version = "1"
  deletion_policy        = "ABANDON"
}

# Values never stand in the state: the first version is written through an ephemeral variable, and whoever rotates
# a secret adds versions beside Terraform (docs/runbook.md).

locals {
  first_versions = {
    token-private-key   = "token_private_key"
    token-jwks          = "token_jwks"
    webhook-secret-keys = "webhook_secret_keys"
  }
}

resource "google_secret_manager_secret" "main" {
  for_each            = local.first_versions
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
  for_each       = local.first_versions
  secret         = google_secret_manager_secret.main[each.key].id
  secret_data_wo = var.first_secrets[each.value]
  # Never raised: a value sent with a later apply is ignored.
  secret_data_wo_version = "1"
  deletion_policy        = "ABANDON"
}

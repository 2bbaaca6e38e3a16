# What must exist before the first build: APIs, a place for the state and the images, and who builds and deploys.

locals {
  apis = toset([
    "aiplatform", "artifactregistry", "cloudbuild", "cloudresourcemanager", "cloudscheduler", "cloudtasks", "compute", "iam",
    "iamcredentials", "logging", "monitoring", "run", "secretmanager", "servicenetworking", "sqladmin", "storage",
  ])
  # What Terraform manages, and no more: no owner, no editor.
  deployer_roles = toset([
    "roles/cloudscheduler.admin", "roles/cloudsql.admin", "roles/cloudtasks.admin", "roles/compute.loadBalancerAdmin",
    "roles/compute.networkAdmin", "roles/compute.securityAdmin", "roles/iam.serviceAccountAdmin",
    "roles/iam.serviceAccountUser", "roles/logging.configWriter", "roles/monitoring.editor", "roles/run.admin",
    "roles/secretmanager.admin", "roles/storage.admin",
  ])
  # The only roles on the project that the deployer may give to others.
  roles_it_grants = ["roles/aiplatform.user", "roles/cloudsql.client", "roles/cloudsql.instanceUser"]
}

resource "google_project_service" "api" {
  for_each           = local.apis
  service            = "${each.value}.googleapis.com"
  disable_on_destroy = false
}

# Who may act as any account of the project, as the deployer does, is as much as the most powerful of them: Google makes
# some who are editors.
resource "google_project_default_service_accounts" "nothing" {
  project    = var.project_id
  action     = "DEPRIVILEGE"
  depends_on = [google_project_service.api]
}

resource "google_storage_bucket" "state" {
  name                        = "${var.project_id}-terraform"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  versioning {
    enabled = true
  }
  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      num_newer_versions = 30
      with_state         = "ARCHIVED"
    }
  }
  lifecycle {
    prevent_destroy = true
  }
  depends_on = [google_project_service.api]
}

resource "google_artifact_registry_repository" "images" {
  location      = var.region
  repository_id = "renderiq"
  description   = "The image of all functions."
  format        = "DOCKER"
  docker_config {
    immutable_tags = true
  }
  # Thirty deployments to roll back to.
  cleanup_policies {
    id     = "keep-the-newest"
    action = "KEEP"
    most_recent_versions {
      keep_count = 30
    }
  }
  cleanup_policies {
    id     = "delete-the-old"
    action = "DELETE"
    condition {
      older_than = "7776000s"
    }
  }
  depends_on = [google_project_service.api]
}

# Runs the checks and builds the image. It changes nothing that runs: for that it becomes the deployer.
resource "google_service_account" "builder" {
  account_id   = "builder"
  display_name = "Cloud Build: checks, builds, pushes"
  depends_on   = [google_project_service.api]
}

resource "google_service_account" "deployer" {
  account_id   = "deployer"
  display_name = "Terraform: plans and applies"
  depends_on   = [google_project_service.api]
}

resource "google_project_iam_member" "builder" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.builder.member
}

resource "google_artifact_registry_repository_iam_member" "builder" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.builder.member
}

resource "google_service_account_iam_member" "builder_becomes_deployer" {
  service_account_id = google_service_account.deployer.name
  role               = "roles/iam.serviceAccountTokenCreator"
  member             = google_service_account.builder.member
}

resource "google_project_iam_member" "deployer" {
  for_each = local.deployer_roles
  project  = var.project_id
  role     = each.value
  member   = google_service_account.deployer.member
}

resource "google_project_iam_member" "deployer_grants" {
  project = var.project_id
  role    = "roles/resourcemanager.projectIamAdmin"
  member  = google_service_account.deployer.member
  condition {
    title       = "only-the-roles-of-the-functions"
    description = "It cannot make itself, or anybody, more than what functions are."
    expression  = "api.getAttribute('iam.googleapis.com/modifiedGrantsByRole', []).hasOnly(${jsonencode(local.roles_it_grants)})"
  }
}

# Cloud Run reads the image with the deployer's rights when a service is made.
resource "google_artifact_registry_repository_iam_member" "deployer" {
  location   = google_artifact_registry_repository.images.location
  repository = google_artifact_registry_repository.images.name
  role       = "roles/artifactregistry.reader"
  member     = google_service_account.deployer.member
}

resource "google_cloudbuild_trigger" "deploy" {
  count           = var.repository == null ? 0 : 1
  depends_on      = [google_project_service.api]
  name            = "deploy"
  description     = "main: after an approval check, build, push, plan and apply."
  location        = var.region
  service_account = google_service_account.builder.id
  filename        = "cloudbuild.yaml"
  substitutions   = merge({ _REGION = var.region }, var.substitutions)
  repository_event_config {
    repository = var.repository
    push {
      branch = "^main$"
    }
  }
  approval_config {
    approval_required = true
  }
}

# Uploads and results. Nobody reads it but by a signed URL.

resource "google_storage_bucket" "media" {
  name                        = "${var.project_id}-renderiq-media"
  location                    = var.region
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  # The dashboard's resumable uploads.
  cors {
    origin          = ["https://${var.domain}"]
    method          = ["POST", "PUT", "GET", "HEAD"]
    response_header = ["Content-Type", "Content-Range", "ETag", "Location", "Range", "x-goog-content-length-range", "x-goog-if-generation-match", "x-goog-resumable"]
    max_age_seconds = 3600
  }
  lifecycle_rule {
    action {
      type = "AbortIncompleteMultipartUpload"
    }
    condition {
      age = 7
    }
  }
  dynamic "lifecycle_rule" {
    for_each = { "renders/" = var.retention.results_days, "uploads/" = var.retention.uploads_days }
    content {
      action {
        type = "Delete"
      }
      condition {
        age            = lifecycle_rule.value
        matches_prefix = [lifecycle_rule.key]
      }
    }
  }
  # What was deleted by mistake can be had back for a week.
  soft_delete_policy {
    retention_duration_seconds = 604800
  }
}

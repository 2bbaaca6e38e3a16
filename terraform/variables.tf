variable "project_id" {
  description = "The Google Cloud project that owns everything."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where functions, queues, the database and the bucket are."
  type        = string
  default     = "europe-west1"
  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]$", var.region))
    error_message = "A region reads like europe-west1; a zone is none."
  }
}

variable "domain" {
  description = "The public host name; its DNS must point at the output edge_address."
  type        = string
  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]*[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "The domain is one lower-case host name, without scheme or path."
  }
}

variable "image" {
  description = "The container image that holds every function, by digest."
  type        = string
  validation {
    condition     = can(regex("^[a-z0-9./_-]+@sha256:[0-9a-f]{64}$", var.image))
    error_message = "Pin the image by digest: <registry>/<project>/<repository>/<name>@sha256:<64 hexadecimal digits>."
  }
}

variable "release" {
  description = "What the health endpoint tells as its version: a tag or a commit."
  type        = string
  default     = "unknown"
}

variable "deployment" {
  description = "Names this deployment, as the build's id does: each new name runs the migrations, also when an older image comes back."
  type        = string
  default     = "manual"
  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]*$", var.deployment))
    error_message = "Lower-case letters, digits and hyphens."
  }
}

variable "restarted_at" {
  description = "Any new text makes new revisions, which read the newest versions of all secrets."
  type        = string
  default     = ""
}

variable "first_secrets" {
  description = "The first version of each secret, as `python -m tools.secrets first` prints it. Never stored; used once."
  type = object({
    token_private_key   = string
    token_jwks          = string
    webhook_secret_keys = string
  })
  sensitive = true
  ephemeral = true
}

variable "service" {
  description = "What a function gets unless `functions` says otherwise."
  type = object({
    cpu             = optional(string, "1")
    memory          = optional(string, "512Mi")
    concurrency     = optional(number, 8)
    min_instances   = optional(number, 0)
    max_instances   = optional(number, 2)
    timeout_seconds = optional(number, 60)
  })
  default  = {}
  nullable = false
  validation {
    condition     = var.service.concurrency >= 1 && var.service.concurrency <= 80 && var.service.max_instances >= 1 && var.service.min_instances <= var.service.max_instances
    error_message = "Concurrency is 1 to 80; at least one instance, and no more kept warm than allowed."
  }
}

variable "functions" {
  description = "What single functions get instead, by name; what is left out stays as it is."
  type = map(object({
    cpu             = optional(string)
    memory          = optional(string)
    concurrency     = optional(number)
    min_instances   = optional(number)
    max_instances   = optional(number)
    timeout_seconds = optional(number)
  }))
  default = {
    renders_create = { min_instances = 1, max_instances = 4 }
    renders_get    = { min_instances = 1, max_instances = 4 }
  }
  nullable = false
  validation {
    condition     = alltrue([for name in keys(var.functions) : contains(keys(local.table), name)])
    error_message = "Each name must be one of terraform/functions.json."
  }
}

variable "queues" {
  description = "How fast and how many at once: a queue has at most 500 dispatches a second."
  type = object({
    renders_per_second    = optional(number, 50)
    delivery_queues       = optional(number, 4)
    deliveries_per_second = optional(number, 500)
  })
  default  = {}
  nullable = false
  validation {
    condition     = alltrue([for rate in [var.queues.renders_per_second, var.queues.deliveries_per_second] : rate > 0 && rate <= 500])
    error_message = "Cloud Tasks dispatches at most 500 tasks a second from a queue."
  }
  validation {
    condition     = var.queues.delivery_queues >= 1 && var.queues.delivery_queues <= 100
    error_message = "Deliveries are spread over 1 to 100 queues."
  }
}

variable "database" {
  description = "Cloud SQL. `reserved_connections` are for people, migrations and Cloud SQL itself."
  type = object({
    tier                 = optional(string, "db-custom-2-8192")
    highly_available     = optional(bool, true)
    disk_gb              = optional(number, 20)
    max_connections      = optional(number, 1000)
    reserved_connections = optional(number, 30)
    log_retention_days   = optional(number, 7)
    backups              = optional(number, 30)
    deletion_protection  = optional(bool, true)
  })
  default  = {}
  nullable = false
  validation {
    condition     = var.database.log_retention_days >= 1 && var.database.log_retention_days <= 7
    error_message = "The ENTERPRISE edition keeps the logs of point-in-time recovery for 1 to 7 days."
  }
}

variable "retention" {
  description = "Days that the bucket keeps what renders made, and what was uploaded for them."
  type = object({
    results_days = optional(number, 90)
    uploads_days = optional(number, 90)
  })
  default  = {}
  nullable = false
  validation {
    condition     = alltrue([for days in values(var.retention) : days >= 7])
    error_message = "A week at least: a render may still be asked for."
  }
}

variable "edge" {
  description = "The load balancer: how many requests a minute one address may make before it is answered 429."
  type        = object({ requests_per_minute_of_address = optional(number, 1200) })
  default     = {}
  nullable    = false
  validation {
    condition     = var.edge.requests_per_minute_of_address >= 60
    error_message = "A plugin that polls makes one request a second."
  }
}

variable "limits" {
  description = "Rate limits a minute, as docs/configuration.md explains them; what is left out keeps the code's default."
  type = object({
    user                           = optional(number)
    platform                       = optional(number)
    failures                       = optional(number)
    signins_of_address             = optional(number)
    signins_of_account             = optional(number)
    signins_of_account_and_address = optional(number)
  })
  default  = {}
  nullable = false
  validation {
    condition     = alltrue([for limit in values(var.limits) : limit == null ? true : limit >= 1 && floor(limit) == limit])
    error_message = "A limit is a whole number from 1."
  }
  validation {
    condition     = alltrue([for limit in [var.limits.user, var.limits.platform] : limit == null ? true : limit >= 10])
    error_message = "A render takes 10 of a minute's worth."
  }
}

variable "plugins" {
  description = "The oldest plugin version that may call, by platform, and where a newer one is."
  type = object({
    minimum_versions = optional(map(string), {})
    download_url     = optional(string)
  })
  default  = {}
  nullable = false
}

variable "credentials" {
  description = "What access tokens and API keys say; what is left out keeps the code's default. An external OIDC issuer is trusted when it is named, with its audience."
  type = object({
    token_issuer   = optional(string)
    token_audience = optional(string)
    api_key_prefix = optional(string)
    oidc_issuer    = optional(string)
    oidc_audience  = optional(string)
  })
  default  = {}
  nullable = false
  validation {
    condition     = (var.credentials.oidc_issuer == null) == (var.credentials.oidc_audience == null)
    error_message = "An external issuer and the audience of its tokens are named together."
  }
  validation {
    condition     = startswith(coalesce(var.credentials.oidc_issuer, "https://"), "https://")
    error_message = "An external issuer is an https address."
  }
}

variable "engines" {
  description = "The gemini engine: a model's id makes it available. The studio engine always is."
  type = object({
    gemini_model    = optional(string)
    gemini_location = optional(string)
  })
  default  = {}
  nullable = false
}

variable "webhook_retry_delays" {
  description = "Seconds between a delivery's attempts; empty keeps the code's default."
  type        = list(number)
  default     = []
  nullable    = false
}

variable "cdn_domain" {
  description = "A CDN in front of the bucket, if there is one."
  type        = string
  default     = null
}

variable "alert_emails" {
  description = "Who is told when an alert fires."
  type        = set(string)
  default     = []
  nullable    = false
}

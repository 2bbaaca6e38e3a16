variable "project_id" {
  description = "The Google Cloud project that owns everything; billing is on."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "A project id has 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "Where builds run, and images and the state are kept."
  type        = string
  default     = "europe-west1"
}

variable "repository" {
  description = "The connected source repository (Cloud Build, second generation) whose main branch deploys; null for builds by hand."
  type        = string
  default     = null
}

variable "substitutions" {
  description = "What cloudbuild.yaml is told: at least _DOMAIN."
  type        = map(string)
  default     = {}
}

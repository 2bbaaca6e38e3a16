variable "name" {
  description = "The service's name."
  type        = string
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,47}[a-z0-9])?$", var.name))
    error_message = "A Cloud Run service's name has at most 49 lower-case letters, digits and hyphens."
  }
}

variable "description" {
  description = "What the function does, in a sentence."
  type        = string
}

variable "region" {
  description = "Where it runs."
  type        = string
}

variable "image" {
  description = "The image of all functions, by digest."
  type        = string
}

variable "function_source" {
  description = "The function's file in the image."
  type        = string
}

variable "restarted_at" {
  description = "Any new text makes a new revision."
  type        = string
}

variable "size" {
  description = "CPU, memory, requests at once, instances, and seconds a request may take."
  type = object({
    cpu             = string
    memory          = string
    concurrency     = number
    min_instances   = number
    max_instances   = number
    timeout_seconds = number
  })
}

variable "public" {
  description = "Whether the load balancer brings callers. If not, Google's IAM lets in `invoker` and nobody else."
  type        = bool
}

variable "invoker" {
  description = "The IAM member that calls a function that is not public."
  type        = string
  default     = null
}

variable "service_account" {
  description = "The account it runs as."
  type        = string
}

variable "subnetwork" {
  description = "The subnetwork through which it reaches private addresses; null for none."
  type        = string
}

variable "settings" {
  description = "Its environment."
  type        = map(string)
}

variable "secrets" {
  description = "Its environment that comes from Secret Manager: the secret's id by the variable's name."
  type        = map(string)
}

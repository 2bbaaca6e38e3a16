# One load balancer in front of all public functions. Which function answers is decided by method and path, as
# functions.json says; what matches nothing goes to `fallback`, which answers 404, or 405 with `Allow`.

locals {
  routed = { for name, row in local.public : name => row if row.method != "*" }
  # Literal paths before templates, so that none is shadowed: fewest parameters first, then by name.
  route_order = [for key in sort([for name, row in local.routed : format("%02d %s", length(regexall("\\{", row.path)), name)]) : split(" ", key)[1]]
  routes = [for name in local.route_order : {
    function = name
    method   = local.routed[name].method
    literal  = strcontains(local.routed[name].path, "{") ? null : local.routed[name].path
    # A parameter is one segment, whatever its name.
    template = strcontains(local.routed[name].path, "{") ? replace(local.routed[name].path, "/\\{\\w+\\}/", "*") : null
  }]
}

resource "google_compute_region_network_endpoint_group" "function" {
  for_each              = local.public
  name                  = local.service_names[each.key]
  region                = var.region
  network_endpoint_type = "SERVERLESS"
  cloud_run {
    service = module.function[each.key].name
  }
}

# No timeout_sec: a serverless backend does not take one; the service's own holds.
resource "google_compute_backend_service" "function" {
  for_each              = local.public
  name                  = local.service_names[each.key]
  load_balancing_scheme = "EXTERNAL_MANAGED"
  protocol              = "HTTPS"
  security_policy       = google_compute_security_policy.edge.id
  backend {
    group = google_compute_region_network_endpoint_group.function[each.key].id
  }
  log_config {
    enable = false
  }
}

resource "google_compute_security_policy" "edge" {
  name        = "edge"
  description = "A flood from one address ends here; who may call how often is the functions' own rule."
  rule {
    action   = "throttle"
    priority = 1000
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
    rate_limit_options {
      conform_action = "allow"
      exceed_action  = "deny(429)"
      enforce_on_key = "IP"
      rate_limit_threshold {
        count        = var.edge.requests_per_minute_of_address
        interval_sec = 60
      }
    }
  }
  rule {
    action   = "allow"
    priority = 2147483647
    match {
      versioned_expr = "SRC_IPS_V1"
      config {
        src_ip_ranges = ["*"]
      }
    }
  }
}

resource "google_compute_url_map" "edge" {
  name            = "edge"
  default_service = google_compute_backend_service.function["fallback"].id
  host_rule {
    hosts        = [var.domain]
    path_matcher = "functions"
  }
  path_matcher {
    name            = "functions"
    default_service = google_compute_backend_service.function["fallback"].id
    dynamic "route_rules" {
      for_each = local.routes
      iterator = route
      content {
        priority = route.key + 1
        service  = google_compute_backend_service.function[route.value.function].id
        match_rules {
          full_path_match     = route.value.literal
          path_template_match = route.value.template
          header_matches {
            header_name = ":method"
            exact_match = route.value.method
          }
        }
      }
    }
  }
  lifecycle {
    precondition {
      condition     = length([for route in local.routes : route if route.template != null]) <= 100
      error_message = "A path matcher takes at most 100 path templates."
    }
  }
}

resource "google_compute_url_map" "to_https" {
  name = "to-https"
  default_url_redirect {
    https_redirect         = true
    redirect_response_code = "PERMANENT_REDIRECT"
    strip_query            = false
  }
}

resource "google_compute_global_address" "edge" {
  name = "edge"
}

resource "google_compute_managed_ssl_certificate" "edge" {
  # A certificate's domains cannot change: another domain is another certificate, made before the old one goes.
  name = "edge-${substr(sha256(var.domain), 0, 8)}"
  managed {
    domains = [var.domain]
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_ssl_policy" "edge" {
  name            = "edge"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
}

resource "google_compute_target_https_proxy" "edge" {
  name             = "edge"
  url_map          = google_compute_url_map.edge.id
  ssl_certificates = [google_compute_managed_ssl_certificate.edge.id]
  ssl_policy       = google_compute_ssl_policy.edge.id
}

resource "google_compute_target_http_proxy" "to_https" {
  name    = "to-https"
  url_map = google_compute_url_map.to_https.id
}

resource "google_compute_global_forwarding_rule" "https" {
  name                  = "edge-https"
  target                = google_compute_target_https_proxy.edge.id
  ip_address            = google_compute_global_address.edge.id
  port_range            = "443"
  load_balancing_scheme = "EXTERNAL_MANAGED"
}

resource "google_compute_global_forwarding_rule" "http" {
  name                  = "edge-http"
  target                = google_compute_target_http_proxy.to_https.id
  ip_address            = google_compute_global_address.edge.id
  port_range            = "80"
  load_balancing_scheme = "EXTERNAL_MANAGED"
}

# Terraform's own view, with everything left at its default: `terraform test`.

mock_provider "google" {}

variables {
  project_id = "demo-project"
  domain     = "api.example.com"
  image      = "europe-west1-docker.pkg.dev/demo-project/renderiq/api@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  first_secrets = {
    token_private_key   = "a"
    token_jwks          = "b"
    webhook_secret_keys = "c"
  }
}

run "defaults" {
  command = plan
  assert {
    condition     = toset(keys(module.function)) == toset([for row in jsondecode(file("functions.json")).functions : row.name])
    error_message = "One service for each row of the table."
  }
  assert {
    condition     = alltrue([for name, backend in google_compute_backend_service.function : !local.table[name].internal])
    error_message = "No internal function has a backend."
  }
  assert {
    condition     = alltrue([for rule in google_compute_url_map.edge.path_matcher[0].route_rules : rule.match_rules[0].header_matches[0].header_name == ":method"])
    error_message = "Every route rule looks at the method."
  }
  assert {
    condition     = length(google_project_iam_member.engine) == 0
    error_message = "Nobody asks Vertex AI as long as no model is named."
  }
  assert {
    condition     = var.retention == { results_days = 90, uploads_days = 90 } && var.edge.requests_per_minute_of_address == 1200
    error_message = "What docs/configuration.md and docs/costs.md count with."
  }
  assert {
    condition     = output.connections.in_a_rollout <= output.connections.available
    error_message = "The database has a connection for every thread, also in a rollout."
  }
}

run "an_image_by_tag" {
  command = plan
  variables {
    image = "europe-west1-docker.pkg.dev/demo-project/renderiq/api:latest"
  }
  expect_failures = [var.image]
}

run "a_url_as_domain" {
  command = plan
  variables {
    domain = "https://api.example.com/"
  }
  expect_failures = [var.domain]
}

run "a_zone_as_region" {
  command = plan
  variables {
    region = "europe-west1-b"
  }
  expect_failures = [var.region]
}

run "a_project_that_is_none" {
  command = plan
  variables {
    project_id = "Demo Project"
  }
  expect_failures = [var.project_id]
}

run "a_deployment_that_names_no_execution" {
  command = plan
  variables {
    deployment = "Second try"
  }
  expect_failures = [var.deployment]
}

run "more_kept_warm_than_allowed" {
  command = plan
  variables {
    service = { min_instances = 3, max_instances = 2 }
  }
  expect_failures = [var.service]
}

run "results_that_end_within_the_week" {
  command = plan
  variables {
    retention = { results_days = 6 }
  }
  expect_failures = [var.retention]
}

run "an_issuer_without_an_audience" {
  command = plan
  variables {
    credentials = { oidc_issuer = "https://issuer.example.com" }
  }
  expect_failures = [var.credentials]
}

run "an_issuer_by_plain_http" {
  command = plan
  variables {
    credentials = { oidc_issuer = "http://issuer.example.com", oidc_audience = "plugins" }
  }
  expect_failures = [var.credentials]
}

run "an_edge_that_lets_nobody_in" {
  command = plan
  variables {
    edge = { requests_per_minute_of_address = 0 }
  }
  expect_failures = [var.edge]
}

run "a_limit_that_no_render_fits_into" {
  command = plan
  variables {
    limits = { platform = 9 }
  }
  expect_failures = [var.limits]
}

run "half_a_failure" {
  command = plan
  variables {
    limits = { failures = 0.5 }
  }
  expect_failures = [var.limits]
}

run "no_queue_for_deliveries" {
  command = plan
  variables {
    queues = { delivery_queues = 0 }
  }
  expect_failures = [var.queues]
}

run "a_function_that_is_none" {
  command = plan
  variables {
    functions = { renders_creat = { max_instances = 3 } }
  }
  expect_failures = [var.functions]
}

run "more_dispatches_than_a_queue_has" {
  command = plan
  variables {
    queues = { deliveries_per_second = 501 }
  }
  expect_failures = [var.queues]
}

run "more_queues_than_workers" {
  command = plan
  variables {
    queues = { delivery_queues = 100 }
  }
  expect_failures = [google_cloud_tasks_queue.main]
}

run "logs_kept_longer_than_the_edition_does" {
  command = plan
  variables {
    database = { log_retention_days = 8 }
  }
  expect_failures = [var.database]
}

run "more_threads_than_connections" {
  command = plan
  variables {
    database = { max_connections = 200 }
  }
  expect_failures = [google_sql_database_instance.main]
}

run "all_of_it" {
  command = apply
  assert {
    condition     = output.base_url == "https://api.example.com/api/plugins"
    error_message = "The outputs tell the base URL."
  }
}

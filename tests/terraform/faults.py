"""Faults that people make: a text of the configuration, what stands there instead, and by what it is found."""

from typing import NamedTuple


class Fault(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    #: `terraform` or the beginning of a rule's name; empty when any will do.
    by: str = ""


FUNCTION = "modules/function/main.tf"

FAULTS = [
    # What Terraform sees with the schema.
    Fault("a misspelt argument", "queues.tf", "max_doublings = 5", "max_doublngs = 5", "terraform"),
    Fault("a misspelt block", "queues.tf", "  retry_config {", "  retry_confg {", "terraform"),
    Fault(
        "a block twice",
        "queues.tf",
        "  stackdriver_logging_config {",
        "  stackdriver_logging_config {\n    sampling_ratio = 0\n  }\n  stackdriver_logging_config {",
        "terraform",
    ),
    Fault("a required argument left out", "database.tf", '  database_version    = "POSTGRES_18"\n', "", "terraform"),
    Fault(
        "a type that does not exist",
        "edge.tf",
        'resource "google_compute_ssl_policy"',
        'resource "google_compute_ssl_polic"',
        "",
    ),
    Fault(
        "an attribute that does not exist",
        "outputs.tf",
        "google_compute_global_address.edge.address",
        "google_compute_global_address.edge.adress",
        "terraform",
    ),
    Fault(
        "a resource that is not declared",
        "edge.tf",
        "google_compute_url_map.edge.id",
        "google_compute_url_map.egde.id",
        "terraform",
    ),
    Fault("a variable that is not declared", "network.tf", "var.region", "var.regionn", "terraform"),
    Fault(
        "an output that does not exist",
        "scheduler.tf",
        'module.function["tasks_sweep"].uri',
        'module.function["tasks_sweep"].url',
        "terraform",
    ),
    Fault(
        "a text for a truth value", FUNCTION, "startup_cpu_boost = true", 'startup_cpu_boost = "sometimes"', "terraform"
    ),
    Fault(
        "a value outside its enumeration",
        "edge.tf",
        'profile         = "MODERN"',
        'profile         = "MODREN"',
        "terraform",
    ),
    Fault(
        "a value that is Google's to set",
        "queues.tf",
        "    max_dispatches_per_second = each.value.per_second",
        "    max_dispatches_per_second = each.value.per_second\n    max_burst_size = 50",
        "terraform",
    ),
    Fault(
        "a cycle",
        "network.tf",
        '  name                    = "renderiq"',
        "  name                    = google_compute_subnetwork.functions.name",
        "terraform",
    ),
    Fault("a key that is in no map", "scheduler.tf", "local.sizes.tasks_sweep", "local.sizes.tasks_sweap", ""),
    Fault("a secret's value from where it would be kept", "secrets.tf", "secret_data_wo = ", "secret_data = ", ""),
    # The table.
    Fault("a row without its path", "functions.json", '      "path": "/api/plugins/auth/me",\n', "", "terraform"),
    Fault(
        "a method that is none",
        "functions.json",
        '"method": "DELETE",\n      "path": "/api/plugins/keys/{keyId}"',
        '"method": "DELTE",\n      "path": "/api/plugins/keys/{id}x"',
        "",
    ),
    Fault("a need that nobody knows", "functions.json", '"token_key"', '"token_kye"', "terraform"),
    # Access.
    Fault(
        "a role that is none",
        "accounts.tf",
        '"roles/cloudtasks.enqueuer"',
        '"roles/cloudtasks.enqueur"',
        "exactly_the_roles",
    ),
    Fault(
        "a role too large",
        "accounts.tf",
        '"roles/storage.objectViewer"',
        '"roles/storage.objectAdmin"',
        "exactly_the_roles",
    ),
    Fault(
        "a role for too many",
        "accounts.tf",
        'queues = ["renders"]',
        'queues = concat(["renders"], local.delivery_queues)',
        "exactly_the_roles",
    ),
    Fault(
        "a role on every database",
        "accounts.tf",
        "resource.name == 'projects/${var.project_id}/instances/${google_sql_database_instance.main.name}' && ",
        "",
        "roles_on_the_project",
    ),
    Fault(
        "everybody",
        "accounts.tf",
        "  member   = google_service_account.function[each.value.account].member\n}\n\n# signBlob",
        '  member   = "allUsers"\n}\n\n# signBlob',
        "nobody_is_everybody",
    ),
    Fault(
        "signing as another account",
        "accounts.tf",
        "service_account_id = google_service_account.function[each.value].name",
        "service_account_id = google_service_account.tasks.name",
        "exactly_the_roles",
    ),
    Fault(
        "a public function on the internet",
        FUNCTION,
        '"INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"',
        '"INGRESS_TRAFFIC_ALL"',
        "public_functions",
    ),
    Fault(
        "a public function at its own address",
        FUNCTION,
        "  default_uri_disabled = var.public\n",
        "",
        "public_functions",
    ),
    Fault(
        "internal functions without IAM",
        FUNCTION,
        "invoker_iam_disabled = var.public",
        "invoker_iam_disabled = true",
        "internal_functions",
    ),
    Fault(
        "internal functions for another audience",
        FUNCTION,
        '"renderiq-${var.name}"',
        '"renderiq"',
        "internal_functions",
    ),
    Fault(
        "the key that signs for everybody",
        "functions.tf",
        "merge([for need in each.value.needs : local.needs[need].secrets]...)",
        'merge({ TOKEN_PRIVATE_KEY = "token-private-key" }, [for need in each.value.needs : local.needs[need].secrets]...)',
        "every_secret_comes",
    ),
    Fault("a secret that does not exist", "accounts.tf", 'TOKEN_JWKS = "token-jwks"', 'TOKEN_JWKS = "token-jwk"', ""),
    Fault(
        "a secret without a version",
        "secrets.tf",
        "  for_each       = local.first_versions",
        '  for_each       = { for id, name in local.first_versions : id => name if id != "token-jwks" }',
        "every_secret_exists",
    ),
    Fault(
        "services before the migrations", "functions.tf", "    google_cloud_run_v2_job.migrate,\n", "", "services_wait"
    ),
    Fault(
        "functions that own the database",
        "database.tf",
        'database_roles = ["app"]',
        'database_roles = ["cloudsqlsuperuser"]',
        "functions_are_app",
    ),
    # The edge.
    Fault(
        "templates before literal paths",
        "edge.tf",
        'format("%02d %s", length',
        'format("%02d %s", 99 - length',
        "no_template",
    ),
    Fault("any method", "edge.tf", "exact_match = route.value.method", "present_match = true", ""),
    Fault("another header than the method", "edge.tf", 'header_name = ":method"', 'header_name = "method"', ""),
    Fault(
        "two ways of saying a method",
        "edge.tf",
        "            exact_match = route.value.method",
        '            exact_match = route.value.method\n            prefix_match = "G"',
        "",
    ),
    Fault(
        "no function for the unknown",
        "edge.tf",
        'google_compute_backend_service.function["fallback"].id\n    dynamic',
        'google_compute_backend_service.function["health"].id\n    dynamic',
        "what_nothing_matches",
    ),
    Fault(
        "internal functions at the edge",
        "edge.tf",
        "  for_each              = local.public\n  name                  = local.service_names[each.key]\n  load_balancing_scheme",
        "  for_each              = local.table\n  name                  = local.service_names[each.key]\n  load_balancing_scheme",
        "",
    ),
    Fault(
        "a backend without its guard",
        "edge.tf",
        "  security_policy       = google_compute_security_policy.edge.id\n",
        "",
        "backends_are",
    ),
    Fault(
        "a timeout that a serverless backend refuses",
        "edge.tf",
        '  protocol              = "HTTPS"\n',
        '  protocol              = "HTTPS"\n  timeout_sec           = 60\n',
        "backends_are",
    ),
    Fault("old TLS", "edge.tf", '"TLS_1_2"', '"TLS_1_0"', "only_https"),
    Fault(
        "plain HTTP served", "edge.tf", "https_redirect         = true", "https_redirect         = false", "only_https"
    ),
    # Work.
    Fault(
        "a duration that is none", "queues.tf", 'min_backoff   = "1s"', 'min_backoff   = "1 second"', "a_queue_retries"
    ),
    Fault(
        "a queue without a bound",
        "queues.tf",
        "    max_concurrent_dispatches = each.value.concurrent\n",
        "",
        "every_queue",
    ),
    Fault(
        "queues that send more than workers hold",
        "queues.tf",
        "floor(local.capacity.tasks_deliver_webhook / var.queues.delivery_queues)",
        "local.capacity.tasks_deliver_webhook",
        "every_queue",
    ),
    Fault("tasks that choose their address", "queues.tf", '"ALWAYS"', '"IF_NOT_EXISTS"', ""),
    Fault(
        "renders to the webhook's function",
        "queues.tf",
        'function   = "tasks_run_render"',
        'function   = "tasks_deliver_webhook"',
        "a_queue_decides",
    ),
    Fault("a sweep each hour", "scheduler.tf", '"* * * * *"', '"0 * * * *"', "the_sweep"),
    Fault(
        "a sweep for another audience",
        "scheduler.tf",
        'audience              = module.function["tasks_sweep"].audience',
        'audience              = "sweep"',
        "the_sweep",
    ),
    Fault(
        "more threads than connections",
        "functions.tf",
        "concurrency = 16, max_instances = 4",
        "concurrency = 80, max_instances = 40",
        "terraform",
    ),
    Fault(
        "a larger thread pool than concurrency",
        FUNCTION,
        "THREADS = tostring(var.size.concurrency)",
        'THREADS = "64"',
        "a_function_has_threads",
    ),
    Fault(
        "a maximum for each revision",
        FUNCTION,
        "  scaling {\n    min_instance_count = var.size.min_instances\n    max_instance_count = var.size.max_instances\n  }\n",
        "",
        "",
    ),
    Fault(
        "a probe of the port only",
        FUNCTION,
        '        http_get {\n          path = "/-/ready"\n          port = 8080\n        }',
        "        tcp_socket {\n          port = 8080\n        }",
        "an_instance_is_started",
    ),
    # What is stored.
    Fault("an older PostgreSQL", "database.tf", '"POSTGRES_18"', '"POSTGRES_16"', "the_database_is_postgresql"),
    Fault(
        "the dearer edition by default",
        "database.tf",
        '    edition                     = "ENTERPRISE"\n',
        "",
        "the_database_is_postgresql",
    ),
    Fault(
        "a public address for the database",
        "database.tf",
        "ipv4_enabled    = false",
        "ipv4_enabled    = true",
        "the_database_has_no_public",
    ),
    Fault(
        "passwords for the database",
        "database.tf",
        '    connector_enforcement = "REQUIRED"\n',
        "",
        "the_database_has_no_public",
    ),
    Fault(
        "no way back in time",
        "database.tf",
        "point_in_time_recovery_enabled = true",
        "point_in_time_recovery_enabled = false",
        "the_database_can_be_restored",
    ),
    Fault("a bucket that may become public", "storage.tf", '"enforced"', '"inherited"', "the_bucket_is"),
    Fault("a browser that cannot resume", "storage.tf", '"Location", "Range", ', "", "a_browser"),
    Fault(
        "functions that reach the whole network",
        "network.tf",
        'protocol = "all"',
        'protocol = "icmp"',
        "functions_reach_nothing",
    ),
    Fault("results that are never deleted", "storage.tf", '"renders/" =', '"results/" =', "what_is_kept"),
    # Operations.
    Fault(
        "a setting that nobody reads",
        "functions.tf",
        "{ GCS_BUCKET = google_storage_bucket.media.name, GOOGLE_CLOUD",
        "{ STORAGE_BUCKET = google_storage_bucket.media.name, GOOGLE_CLOUD",
        "a_service_is_given_exactly",
    ),
    Fault("a setting left out", "functions.tf", "    TASK_IAM", "    # TASK_IAM", ""),
    Fault(
        "a path that the image has for itself",
        "functions.tf",
        "    TASK_IAM",
        '    PYTHONPATH = "/app"\n    TASK_IAM',
        "a_service_is_given_exactly",
    ),
    Fault(
        "migrations that the apply does not wait for",
        "migrations.tf",
        "run_execution_token",
        "start_execution_token",
        "",
    ),
    Fault(
        "a roll-back that does not migrate",
        "migrations.tf",
        '-${substr(md5(var.deployment), 0, 8)}"',
        '"',
        "the_same_image",
    ),
    Fault(
        "a metric of an event that nobody logs",
        "metrics.tf",
        'event=\\"delivery_dead\\"',
        'event=\\"webhook.dead_letter\\"',
        "",
    ),
    Fault("a metric by a field that nobody logs", "metrics.tf", '"errorClass"', '"error_class"', "every_metric"),
    Fault(
        "a chart of a metric that does not exist",
        "dashboard.tf",
        "increase(${local.counted.renders}[1h])",
        "increase(${local.counted.renders}_total[1h])",
        "charts_and_alerts",
    ),
    Fault(
        "an alert that fails the first apply",
        "alerts.tf",
        "disable_metric_validation = true",
        "disable_metric_validation = false",
        "alerts_can_be_made",
    ),
    Fault(
        "an alert that tells nobody",
        "alerts.tf",
        "  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.id]\n  conditions {\n    display_name = each.value.title",
        "  conditions {\n    display_name = each.value.title",
        "what_must_wake",
    ),
]

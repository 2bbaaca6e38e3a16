"""What is stored: the database and the bucket."""

import re

from tests.terraform.plan import environment, template
from tests.terraform.rules import rule
from tests.terraform.terraform import ROOT


@rule
def the_database_has_a_connection_for_every_thread(plan):
    wanted = sum(
        service["scaling"][0]["max_instance_count"] * int(environment(service)["THREADS"])
        for name, service in plan.services.items()
        if "database" in plan.table[name]["needs"]
    )
    flags = {flag["name"]: flag["value"] for flag in settings(plan)["database_flags"]}
    assert wanted * 1.25 <= int(flags["max_connections"]) - 30, f"{wanted} of {flags['max_connections']}"


def settings(plan):
    return plan.one("google_sql_database_instance")["settings"][0]


@rule
def the_database_is_postgresql_18_of_the_edition_that_was_meant(plan):
    assert plan.one("google_sql_database_instance")["database_version"] == "POSTGRES_18"
    assert settings(plan)["edition"] == "ENTERPRISE"
    assert re.fullmatch(r"db-custom-\d+-\d+", settings(plan)["tier"])
    assert settings(plan)["availability_type"] == "REGIONAL"
    assert settings(plan)["activation_policy"] not in ("NEVER", "ON_DEMAND")


@rule
def the_database_has_no_public_address(plan):
    (ip,) = settings(plan)["ip_configuration"]
    assert ip["ipv4_enabled"] is False
    assert ip["private_network"] == plan.one("google_compute_network")["id"]
    assert ip["ssl_mode"] == "ENCRYPTED_ONLY"
    assert not ip["authorized_networks"]
    assert settings(plan)["connector_enforcement"] == "REQUIRED"


@rule
def the_database_can_be_restored_to_any_moment_of_a_week(plan):
    (backup,) = settings(plan)["backup_configuration"]
    assert backup["enabled"] is True
    assert backup["point_in_time_recovery_enabled"] is True
    assert backup["transaction_log_retention_days"] == 7
    (kept,) = backup["backup_retention_settings"]
    assert kept["retained_backups"] >= 7
    assert kept["retention_unit"] == "COUNT"


@rule
def the_database_is_kept_where_and_how_it_was_meant(plan):
    region = plan.one("google_sql_database_instance")["region"]
    assert settings(plan)["backup_configuration"][0]["location"] == region
    assert settings(plan)["disk_type"] == "PD_SSD"
    assert settings(plan)["disk_size"] >= 20
    assert settings(plan)["disk_autoresize"] is True
    assert settings(plan)["insights_config"][0]["query_insights_enabled"] is True
    (window,) = settings(plan)["maintenance_window"]
    assert (window["day"], window["hour"], window["update_track"]) == (7, 4, "stable")


@rule
def the_database_is_not_deleted_by_mistake(plan):
    assert plan.one("google_sql_database_instance")["deletion_protection"] is True
    assert settings(plan)["deletion_protection_enabled"] is True
    assert plan.one("google_sql_database")["deletion_policy"] == "ABANDON"


@rule
def people_and_functions_log_in_by_iam(plan):
    flags = {flag["name"]: flag["value"] for flag in settings(plan)["database_flags"]}
    assert flags["cloudsql.iam_authentication"] == "on"
    for user in plan.all("google_sql_user"):
        assert user.values["type"] == "CLOUD_IAM_SERVICE_ACCOUNT"
        assert not user.values["password"]


@rule
def functions_are_app_and_only_the_migrator_owns(plan):
    by_name = {user.values["name"]: user.values["database_roles"] for user in plan.all("google_sql_user")}
    migrator, operator = (
        plan.one("google_service_account", name)["email"].removesuffix(".gserviceaccount.com")
        for name in ("migrator", "operator")
    )
    functions = {
        template(service)["service_account"].removesuffix(".gserviceaccount.com")
        for name, service in plan.services.items()
        if "database" in plan.table[name]["needs"]
    }
    assert by_name == {migrator: ["cloudsqlsuperuser"]} | dict.fromkeys({operator, *functions}, ["app"])


@rule
def the_bucket_is_nobodys_to_read(plan):
    bucket = plan.one("google_storage_bucket")
    assert bucket["uniform_bucket_level_access"] is True
    assert bucket["public_access_prevention"] == "enforced"
    assert not bucket["force_destroy"]
    assert not bucket["website"]
    assert not bucket["requester_pays"], "who has a signed URL has no project to pay with"


@rule
def what_is_deleted_in_the_bucket_goes(plan):
    bucket = plan.one("google_storage_bucket")
    assert bucket["storage_class"] in (None, "STANDARD"), "the others charge for a minimal time"
    assert not bucket["default_event_based_hold"]
    assert not bucket["retention_policy"]
    assert not any(versioning["enabled"] for versioning in bucket["versioning"]), "soft delete keeps a week already"
    assert bucket["soft_delete_policy"][0]["retention_duration_seconds"] >= 604800


@rule
def what_is_kept_ends_by_the_names_that_the_code_gives(plan):
    named = {
        prefix
        for path in (ROOT / "common" / "domain").glob("*.py")
        for prefix in re.findall(r'= f"(\w+/)\{', path.read_text())
    }
    ends = {
        rule["condition"][0]["matches_prefix"][0]: rule["condition"][0]["age"]
        for rule in plan.one("google_storage_bucket")["lifecycle_rule"]
        if rule["action"][0]["type"] == "Delete"
    }
    assert set(ends) == named
    for end in plan.one("google_storage_bucket")["lifecycle_rule"]:
        said = {name for name, value in end["condition"][0].items() if value and "-of-" not in str(value)}
        assert said <= {"age", "matches_prefix"}, f"it holds only where {said} does"
    kept = plan.shown["variables"]["retention"]["value"]
    assert ends == {"renders/": kept["results_days"], "uploads/": kept["uploads_days"]}
    (given_up,) = [
        rule["condition"][0]["age"]
        for rule in plan.one("google_storage_bucket")["lifecycle_rule"]
        if rule["action"][0]["type"] == "AbortIncompleteMultipartUpload"
    ]
    assert given_up == 7, "a resumable upload lives a week"


@rule
def a_browser_of_ours_can_upload_in_parts(plan):
    (cors,) = plan.one("google_storage_bucket")["cors"]
    assert cors["origin"] == [f"https://{plan.shown['variables']['domain']['value']}"]
    assert {"POST", "PUT"} <= set(cors["method"])
    goog = {"x-goog-resumable", "x-goog-if-generation-match", "x-goog-content-length-range"}
    assert {"Content-Type", "Location", "Range", *goog} <= set(cors["response_header"])

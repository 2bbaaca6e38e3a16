"""What a service is given: the settings and secrets that its code reads, with the values that were meant."""

import ast
import inspect
from functools import cache

from common.config import LOCAL_ONLY, read
from tests.terraform import reach
from tests.terraform.plan import environment, secrets, template
from tests.terraform.rules import rule

#: What functions-framework and its server read.
FRAMEWORK = {"FUNCTION_SOURCE", "FUNCTION_TARGET", "THREADS", "WORKERS"}
#: What Cloud Run itself sets.
PLATFORM = {"K_SERVICE"}


class Recording(dict):
    """An environment that remembers which names were asked for."""

    def __init__(self, values):
        super().__init__(values)
        self.asked = set()

    def get(self, name, default=None):
        self.asked.add(name)
        return super().get(name, default)

    def __contains__(self, name):
        self.asked.add(name)
        return super().__contains__(name)


def names_that_config_reads():
    environ = Recording({})
    read(environ)
    return environ.asked


@cache
def variables_of_settings():
    """The variable that a field of the settings is read from: the first that its line in `config.read` names."""
    call = next(
        node
        for node in ast.walk(ast.parse(inspect.getsource(read)))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Settings"
    )
    return {
        keyword.arg: next(
            (n.value for n in ast.walk(keyword.value) if isinstance(n, ast.Constant) and str(n.value).isupper()),
            keyword.arg.upper(),
        )
        for keyword in call.keywords
    }


@rule
def a_service_is_given_exactly_what_its_code_reads(plan):
    variables, known = variables_of_settings(), names_that_config_reads() - set(LOCAL_ONLY) - PLATFORM
    for name, service in plan.services.items():
        given = set(environment(service)) | set(secrets(service))
        reads = {variables[setting] for setting in reach.of(plan.table[name]).settings} & known
        assert given - FRAMEWORK <= reads, f"{name} never reads {given - FRAMEWORK - reads}"
        assert reads <= given, f"{name} is not given {reads - given}"


@rule
def a_function_needs_what_its_code_reaches(plan):
    for name, row in plan.table.items():
        declared = set(row["needs"])
        assert declared == reach.needs(row), f"{name} declares {declared}, its code reaches {reach.needs(row)}"


@rule
def every_setting_reaches_some_service(plan):
    given = {n for service in plan.services.values() for n in (*environment(service), *secrets(service))}
    missing = names_that_config_reads() - set(LOCAL_ONLY) - PLATFORM - given
    assert not missing, missing


@rule
def every_service_reads_its_settings_as_deployed(plan):
    for name, service in plan.services.items():
        settings = read(
            environment(service) | dict.fromkeys(secrets(service), "secret") | {"K_SERVICE": service["name"]}
        )
        for setting in required(plan.table[name]):
            assert getattr(settings, setting), f"{name} has no {setting}"


def required(row):
    """The settings without which a row's function cannot work, as fields of `Settings`."""
    needs = set(row["needs"])
    if "database" in needs:
        yield from ("instance_connection_name", "db_user", "db_name")
    if needs & {"storage", "storage_read", "storage_upload"}:
        yield "gcs_bucket"
    if needs & {"storage_read", "storage_upload"}:
        yield "storage_signing_account"
    yield from needs & {"render_queue", "delivery_queues"}
    if row["internal"]:
        yield from ("task_iam", "task_account")
    for need, setting in (
        ("token_jwks", "token_jwks"),
        ("token_key", "token_private_key"),
        ("webhook_secrets", "webhook_secret_keys"),
    ):
        if need in needs:
            yield setting


@rule
def settings_point_at_what_this_plan_makes(plan):
    (bucket,) = [b.values["name"] for b in plan.all("google_storage_bucket")]
    database = plan.one("google_sql_database_instance")["connection_name"]
    queues = {
        f"projects/{q['project']}/locations/{q['location']}/queues/{q['name']}"
        for q in plan.keyed("google_cloud_tasks_queue").values()
    }
    tasks = plan.one("google_service_account", "tasks")["email"]
    for name, service in plan.services.items():
        env = environment(service)
        account = template(service)["service_account"]
        assert env.get("GCS_BUCKET", bucket) == bucket, name
        assert env.get("STORAGE_SIGNING_ACCOUNT", account) == account, name
        assert env.get("INSTANCE_CONNECTION_NAME", database) == database, name
        assert env.get("DB_USER", account.removesuffix(".gserviceaccount.com")) == account.removesuffix(
            ".gserviceaccount.com"
        ), name
        assert env.get("DB_NAME", "renderiq") == plan.one("google_sql_database")["name"], name
        assert env.get("TASK_ACCOUNT", tasks) == tasks, name
        renders = {queue for queue in queues if queue.endswith("/renders")}
        assert {env.get("RENDER_QUEUE", *renders)} == renders, name
        if "DELIVERY_QUEUES" in env:
            assert set(env["DELIVERY_QUEUES"].split(",")) == queues - renders, name


def meant(variables):
    """What the variables say that a setting is, by its name."""
    limits, credentials, plugins = variables["limits"], variables["credentials"], variables["plugins"]
    return {
        "RENDERIQ_VERSION": variables["release"],
        "GOOGLE_CLOUD_PROJECT": variables["project_id"],
        "GCS_CDN_DOMAIN": variables["cdn_domain"],
        "OUTPUT_RETENTION_DAYS": variables["retention"]["results_days"],
        "GEMINI_MODEL": variables["engines"]["gemini_model"],
        "GEMINI_LOCATION": variables["engines"]["gemini_location"],
        "TOKEN_ISSUER": credentials["token_issuer"],
        "TOKEN_AUDIENCE": credentials["token_audience"],
        "OIDC_ISSUER": credentials["oidc_issuer"],
        "OIDC_AUDIENCE": credentials["oidc_audience"],
        "API_KEY_PREFIX": credentials["api_key_prefix"],
        "USER_RATE_PER_MINUTE": limits["user"],
        "PLATFORM_RATE_PER_MINUTE": limits["platform"],
        "FAILURES_PER_MINUTE": limits["failures"],
        "SIGNINS_PER_MINUTE_OF_ADDRESS": limits["signins_of_address"],
        "SIGNINS_PER_MINUTE_OF_ACCOUNT": limits["signins_of_account"],
        "SIGNINS_PER_MINUTE_OF_ACCOUNT_AND_ADDRESS": limits["signins_of_account_and_address"],
        "PLUGIN_DOWNLOAD_URL": plugins["download_url"],
        "MINIMUM_PLUGIN_VERSIONS": ",".join(f"{name}={least}" for name, least in plugins["minimum_versions"].items()),
        "WEBHOOK_RETRY_DELAYS_S": ",".join(map(str, variables["webhook_retry_delays"])),
    }


@rule
def a_setting_says_what_its_variable_says(plan):
    values = meant({name: variable["value"] for name, variable in plan.shown["variables"].items()})
    assert len(set(map(str, values.values()))) == len(values), "two are the same: they could be taken for each other"
    for name, service in plan.services.items():
        for setting, value in environment(service).items():
            assert value == str(values.get(setting, value)), f"{name}: {setting} is {value}"

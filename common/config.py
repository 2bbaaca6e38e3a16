"""Everything the environment configures, read on first use and never at import."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from common import platforms

#: Settings that only make sense on a laptop: a deployed function refuses to start with one.
LOCAL_ONLY = (
    "DATABASE_URL",
    "STORAGE_ENDPOINT",
    "STORAGE_SIGNING_KEY_FILE",
    "TASKS_ENDPOINT",
    "WEBHOOKS_ALLOW_LOCAL",
    "GEMINI_ENDPOINT",
)
#: What ordering a render takes from a rate limit, whose burst is a minute's worth: a smaller one could never afford it.
RENDER_COST = 10
#: Cloud Tasks schedules no further ahead.
MAX_DELAY_S = 30 * 86400
#: Between a delivery's attempts: about three days.
DEFAULT_RETRY_DELAYS_S = "5,30,120,600,1800,7200,18000,36000,50400,72000,86400"


class ConfigError(RuntimeError):
    """A setting is missing or contradicts the place the function runs in."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One process's configuration.

    Times are seconds, rates are requests a minute. Empty text means *not configured*.
    """

    version: str
    deployed: bool
    # The database: a URL locally, a Cloud SQL instance and an IAM user in the cloud.
    database_url: str = field(repr=False)
    instance_connection_name: str
    db_user: str
    db_name: str
    threads: int
    # Cloud Storage.
    google_cloud_project: str
    gcs_bucket: str
    storage_endpoint: str
    storage_signing_account: str
    signing_key_file: str
    cdn_domain: str
    #: Days that the bucket's lifecycle keeps what a render made.
    output_days: int
    # The gemini engine: a model's id makes it available.
    gemini_model: str
    gemini_location: str
    gemini_endpoint: str
    # Cloud Tasks: full queue names; deliveries are sharded over several.
    tasks_endpoint: str
    render_queue: str
    delivery_queues: tuple[str, ...]
    task_account: str
    #: Whether the platform verifies a task's token before the function is called (Cloud Run's IAM).
    task_iam: bool
    task_audience: str
    # Sessions and keys.
    token_issuer: str
    token_audience: str
    token_private_key: str = field(repr=False)
    token_jwks: str
    # An external issuer (OpenID Connect) that is trusted beside our own; empty: none.
    oidc_issuer: str
    oidc_audience: str
    api_key_prefix: str
    # Webhooks: Fernet keys, the first one encrypts.
    webhook_secret_keys: tuple[str, ...] = field(repr=False)
    webhooks_allow_local: bool
    webhook_retry_delays: tuple[float, ...]
    # Limits.
    user_rate: int
    platform_rate: int
    failures_rate: int
    signin_address_rate: int
    signin_account_rate: int
    signin_pair_rate: int
    minimum_versions: Mapping[str, str]
    download_url: str

    def require(self, name: str) -> str:
        """The text setting `name`; ConfigError when it is empty. What is required is called like its variable."""
        value = getattr(self, name)
        if not value:
            raise ConfigError(f"{name.upper()} is not configured")
        return str(value)


@cache
def settings() -> Settings:
    """The process's settings. ConfigError on a value that cannot be."""
    return read(os.environ)


def read(env: Mapping[str, str]) -> Settings:
    """Settings from `env`; see `docs/configuration.md` for each name."""
    deployed = "K_SERVICE" in env
    forbidden = [name for name in LOCAL_ONLY if deployed and env.get(name)]
    if forbidden:
        raise ConfigError(f"a deployed function does not start with {', '.join(forbidden)}")
    return Settings(
        version=env.get("RENDERIQ_VERSION", "dev"),
        deployed=deployed,
        database_url=env.get("DATABASE_URL", ""),
        instance_connection_name=env.get("INSTANCE_CONNECTION_NAME", ""),
        db_user=env.get("DB_USER", ""),
        db_name=env.get("DB_NAME", "renderiq"),
        threads=_number(env, "THREADS", 8),
        google_cloud_project=env.get("GOOGLE_CLOUD_PROJECT", ""),
        gcs_bucket=env.get("GCS_BUCKET", ""),
        storage_endpoint=env.get("STORAGE_ENDPOINT", ""),
        storage_signing_account=env.get("STORAGE_SIGNING_ACCOUNT", ""),
        signing_key_file=env.get("STORAGE_SIGNING_KEY_FILE", ""),
        cdn_domain=env.get("GCS_CDN_DOMAIN", ""),
        output_days=_number(env, "OUTPUT_RETENTION_DAYS", 90),
        gemini_model=env.get("GEMINI_MODEL", ""),
        gemini_location=env.get("GEMINI_LOCATION", "global"),
        gemini_endpoint=env.get("GEMINI_ENDPOINT", ""),
        tasks_endpoint=env.get("TASKS_ENDPOINT", ""),
        render_queue=env.get("RENDER_QUEUE", ""),
        delivery_queues=_words(env.get("DELIVERY_QUEUES", "")),
        task_account=env.get("TASK_ACCOUNT", ""),
        task_iam=env.get("TASK_IAM", "") == "1",
        task_audience=env.get("TASK_AUDIENCE", ""),
        token_issuer=env.get("TOKEN_ISSUER", "renderiq"),
        token_audience=env.get("TOKEN_AUDIENCE", "renderiq-plugins"),
        token_private_key=env.get("TOKEN_PRIVATE_KEY", ""),
        token_jwks=env.get("TOKEN_JWKS", ""),
        oidc_issuer=_oidc_issuer(env, deployed=deployed),
        oidc_audience=env.get("OIDC_AUDIENCE", ""),
        api_key_prefix=env.get("API_KEY_PREFIX", "rq_sk_live_"),
        webhook_secret_keys=_words(env.get("WEBHOOK_SECRET_KEYS", "")),
        webhooks_allow_local=env.get("WEBHOOKS_ALLOW_LOCAL", "") == "1",
        webhook_retry_delays=_delays(env, "WEBHOOK_RETRY_DELAYS_S", DEFAULT_RETRY_DELAYS_S),
        user_rate=_number(env, "USER_RATE_PER_MINUTE", 600, least=RENDER_COST),
        platform_rate=_number(env, "PLATFORM_RATE_PER_MINUTE", 300, least=RENDER_COST),
        failures_rate=_number(env, "FAILURES_PER_MINUTE", 60),
        signin_address_rate=_number(env, "SIGNINS_PER_MINUTE_OF_ADDRESS", 30),
        signin_account_rate=_number(env, "SIGNINS_PER_MINUTE_OF_ACCOUNT", 30),
        signin_pair_rate=_number(env, "SIGNINS_PER_MINUTE_OF_ACCOUNT_AND_ADDRESS", 10),
        minimum_versions=_minimum_versions(env.get("MINIMUM_PLUGIN_VERSIONS", "")),
        download_url=env.get("PLUGIN_DOWNLOAD_URL", "https://renderiq.example/plugins"),
    )


def _oidc_issuer(env: Mapping[str, str], *, deployed: bool) -> str:
    """The external issuer, with the audience that its tokens must be for; a deployed one is https."""
    issuer = env.get("OIDC_ISSUER", "")
    if issuer and not env.get("OIDC_AUDIENCE"):
        raise ConfigError("OIDC_ISSUER needs OIDC_AUDIENCE")
    if issuer and deployed and not issuer.startswith("https://"):
        raise ConfigError("OIDC_ISSUER is https where the function is deployed")
    return issuer


def _number(env: Mapping[str, str], name: str, default: int, *, least: int = 1) -> int:
    text = env.get(name) or str(default)
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(f"{name} is a whole number from {least}, not {text!r}")
    return int(text)


def _delays(env: Mapping[str, str], name: str, default: str) -> tuple[float, ...]:
    words = _words(env.get(name) or default)
    try:
        delays = tuple(float(word) for word in words)
    except ValueError:
        delays = ()
    if not delays or not all(0 < delay <= MAX_DELAY_S for delay in delays):
        raise ConfigError(f"{name} is seconds, comma-separated, each above 0 and at most {MAX_DELAY_S}")
    return delays


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _minimum_versions(text: str) -> dict[str, str]:
    """`sketchup=1.2.0,revit=2.0` as a mapping. ConfigError for a platform or a version that would never be found."""
    found = {}
    for word in _words(text):
        name, _, version = (part.strip() for part in word.partition("="))
        if name.lower() not in platforms.PLATFORMS or not platforms.is_version(version):
            raise ConfigError(f"MINIMUM_PLUGIN_VERSIONS reads platform=version, comma-separated, not {word!r}")
        found[name.lower()] = version
    return found

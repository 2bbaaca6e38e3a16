"""A call as it came in, and who is calling: what the request's credential stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from common.platforms import Detected


@dataclass(frozen=True, slots=True)
class Call:
    """A request's facts. `address` is the client's, `platform` what the headers tell."""

    request_id: str
    method: str
    path: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    address: str
    user_agent: str
    platform: Detected


@dataclass(frozen=True, slots=True)
class Caller:
    """An account, by one of its sessions or API keys.

    Of a key: the platforms that it is bound to (none: any), and its end, if it has one.
    """

    account_id: UUID
    kind: Literal["session", "api_key"]
    scopes: frozenset[str]
    email: str
    name: str
    key_id: UUID | None
    key_name: str | None
    key_platforms: frozenset[str]
    key_expires_at: datetime | None
    session_id: UUID | None
    platform: Detected
    user_agent: str
    address: str
    request_id: str

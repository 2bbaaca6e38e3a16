"""Sign-in, sessions and who one is, on the wire."""

from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from common.schemas.base import Request, Response, Text, Time, absent

COOKIE = "__Host-session"
COOKIE_ATTRIBUTES = "; Path=/; Secure; HttpOnly; SameSite=Strict"


class SignIn(Request):
    """An e-mail address and a password; `cookie` asks for the dashboard's session."""

    email: Annotated[Text, Field(min_length=1, max_length=254)]
    password: Annotated[Text, Field(min_length=1, max_length=1024)]
    device: Annotated[Text, Field(max_length=100)] | None = None
    cookie: bool = False


class Refresh(Request):
    """A refresh token."""

    refresh_token: Annotated[Text, Field(min_length=1, max_length=200)]


class SignOut(Request):
    """Which sessions to end: this one, or all."""

    everywhere: bool = False


class User(Response):
    """A person."""

    id: UUID
    email: str
    name: str


class SignedIn(Response):
    """A new session's tokens; `expires_in` in seconds."""

    no_store: ClassVar[bool] = True

    access_token: Annotated[str, Field(repr=False)]
    token_type: Literal["Bearer"] = "Bearer"  # noqa: S105 - no secret
    expires_in: int
    refresh_token: Annotated[str, Field(repr=False)]
    user: User


class CookieSession(Response):
    """A new session of the dashboard: its secret is in the cookie and not in the body."""

    no_store: ClassVar[bool] = True

    user: User
    cookie: Annotated[str, Field(exclude=True, repr=False)]

    def headers(self) -> dict[str, str]:
        """The session's cookie. Browsers accept `Secure` on http loopback too."""
        return {"Set-Cookie": f"{COOKIE}={self.cookie}{COOKIE_ATTRIBUTES}"}


class SignedOut(Response):
    """A session that has ended: no body, and the browser forgets its cookie."""

    forget_cookie: Annotated[bool, Field(exclude=True)]

    def headers(self) -> dict[str, str]:
        """An expired cookie in the place of the session's."""
        return {"Set-Cookie": f"{COOKIE}=; Max-Age=0{COOKIE_ATTRIBUTES}"} if self.forget_cookie else {}


class Credential(Response):
    """What the request was made with. `key_id` and `name` are an API key's only."""

    kind: Literal["session", "api_key"]
    key_id: UUID | None = Field(None, exclude_if=absent)
    name: str | None = Field(None, exclude_if=absent)
    scopes: list[str]


class Session(Response):
    """A session of the account."""

    id: UUID
    device: str
    created_at: Time
    last_used_at: Time
    current: bool


class Balance(Response):
    """The account's credits, as `GET /credits` tells them, without prices."""

    available: int
    held: int
    granted: int
    spent: int
    as_of: Time


class Me(Response):
    """Who is calling. `sessions` is told to a session only."""

    user: User
    credits: Balance
    credential: Credential
    platform: str
    sessions: list[Session] | None = Field(None, exclude_if=absent)

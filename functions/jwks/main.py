"""GET /.well-known/jwks.json: the public keys that verify access tokens."""

from common.auth.authenticate import jwks
from common.http.endpoint import endpoint
from common.routing import PUBLIC, Route
from common.schemas.health import Jwks


@endpoint(Route("GET", "/.well-known/jwks.json", scope=PUBLIC, needs=("token_jwks",), database=False, absolute=True))
def main() -> Jwks:
    """The public keys of the access tokens: the present one, and a second one during a rotation."""
    return Jwks(keys=jwks()["keys"])

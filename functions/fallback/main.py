"""Whatever matches no other route: 404, or 405 for a known path."""

from common.auth.caller import Call
from common.domain import fallback
from common.http.endpoint import endpoint
from common.routing import PUBLIC, Route


@endpoint(Route("*", "/*", scope=PUBLIC, database=False, absolute=True))
def main(call: Call) -> None:
    """Answer what no endpoint answers."""
    fallback.refuse(call.path)

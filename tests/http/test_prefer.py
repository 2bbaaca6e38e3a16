"""The `Prefer` header as RFC 7240 writes it."""

import pytest

from common.http.prefer import wait_of


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("wait=5", 5), ("WAIT=5", 5), ("wait = 5", 5), ('wait="5"', 5), ("wait=0", 0), ("wait=5;exact", 5),
        ("respond-async, wait=10", 10), ("wait=3, wait=9", 3), ('foo="a, wait=9", wait=3', 3),
        ("", None), ("wait", None), ("wait=", None), ("wait=-1", None), ("wait=1.5", None), ("wait=soon", None),
        ("wait=٣", None), ("nowait=5", None), ("foo; wait=9", None), ('foo=bar; x="1, wait=2"', None),
        ("wait=9999999999999", None), (";;,=,", None), ('"', None), ("=5", None),
    ],
)  # fmt: skip
def test_the_first_wait_counts_and_what_cannot_be_read_is_none(header, seconds):
    assert wait_of(header) == seconds

"""Which URLs a webhook may have."""

import string
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.webhooks.urls import MAX_LENGTH, UrlNotAllowed, check_url

PUBLIC = [
    "https://example.com",
    "https://example.com/",
    "https://hooks.example.com/a/b;c?d=e&f=%20",
    "https://hooks.example.com:443/",
    "https://hooks.example.com:1024/",
    "https://hooks.example.com:65535/",
    "HTTPS://Hooks.Example.COM/",
    "https://xn--bcher-kva.example.com/",
    "https://xn--e1afmkfd.xn--p1ai/",
    "https://a.b.c.d.example.co.uk/",
    "https://3com.com/",
    "https://127.0.0.1.nip.io/",  # judged by its addresses
    "https://my_host.example.com/",
    "https://" + "a" * 63 + ".example.com/",
    "https://" + "a." * 126 + "a/",  # 253 characters, as many as DNS has
    "https://example.com/" + "a" * (MAX_LENGTH - len("https://example.com/")),
]
REFUSED = [
    # schemes
    *("http://example.com/", "ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)", "//example.com/"),
    *("", "example.com", "https:", "https://", "https:///path", "https:example.com", "https:/example.com"),
    # addresses, plain and written in other ways
    *("https://10.0.0.1/", "https://8.8.8.8/", "https://127.0.0.1/", "https://[::1]/", "https://[2606:4700::1]/"),
    *("https://[::ffff:10.0.0.1]/", "https://[fe80::1%25eth0]/", "https://127.1/", "https://2130706433/"),
    *("https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/", "https://127.0.0.0x1/", "https://1.2.3.4.5/"),
    *("https://example.0x/", "https://example.08/", "https://0/", "https://0x/", "https://[v1.example.com]/"),
    *("https://[hooks.example.com]/", "https://[::1].example.com/", "https://example.com[::1]/", "https://[::1/"),
    # credentials
    *("https://user:password@example.com/", "https://user@example.com/", "https://@example.com/"),
    *("https://:@example.com/", "https://example.com:443@evil.example.com/", "https://a@b@example.com/"),
    # ports
    *("https://example.com:22/", "https://example.com:80/", "https://example.com:0/", "https://example.com:1023/"),
    *("https://example.com:65536/", "https://example.com:-1/", "https://example.com:4_43/", "https://example.com:x/"),
    *("https://example.com:443:443/", "https://example.com:+443/"),
    # hosts that are nobody's
    *("https://localhost/", "https://localhost:8080/", "https://metadata.google.internal/", "https://printer.local/"),
    *("https://a.localhost/", "https://a.test/", "https://a.invalid/", "https://a.onion/", "https://a.home.arpa/"),
    "https://a.alt/",
    *("https://intranet/", "https://com/", "https://LOCALHOST/", "https://Metadata.Google.INTERNAL/"),
    # odd names
    *("https://example.com./", "https://example..com/", "https://.example.com/", "https://-a.example.com/"),
    *("https://a-.example.com/", "https://" + "a" * 64 + ".example.com/", "https://" + "a." * 127 + "com/"),
    *("https://exa%6dple.com/", "https://exa*ple.com/", "https://bücher.example.com/", "https://ｅxample.com/"),
    *("https://example。com/", "https://example.com%00.evil.com/", "https://a,b.example.com/", "https://a!.example.com/"),
    # characters that parsers disagree on, or that would become headers
    *("https://example.com/#fragment", "https://example.com\\@evil.com/", "https://example.com/\\evil", "https://example.com/ a", " https://a.com/"),
    *("https://example.com/\r\nx: y", "https://example.com/\t", "https://exam\nple.com/", "https://example.com/\x00"),
    *("https://example.com/\x7f", "https://example.com/é", "https://example.com?\n", "https://example.com/\u2028"),
    "https://example.com/" + "a" * MAX_LENGTH,
    "https://" + "a." * 126 + "ab/",  # 254 characters
]  # fmt: skip


@pytest.mark.parametrize("url", PUBLIC)
@pytest.mark.parametrize("allow_local", [False, True])
def test_https_to_a_public_name_is_allowed(url, allow_local):
    check_url(url, allow_local=allow_local)


@pytest.mark.parametrize("url", REFUSED)
def test_every_other_url_is_refused_with_a_reason(url):
    with pytest.raises(UrlNotAllowed, match=r"^(it|its) .{8,}$"):
        check_url(url, allow_local=False)


LOCAL = [
    *("http://localhost/", "http://localhost:8080/a?b", "https://localhost:8080/", "http://127.0.0.1:9/"),
    *("http://127.9.9.9/", "http://[::1]:8080/", "https://[::1]/", "HTTP://LOCALHOST/"),
]


@pytest.mark.parametrize("url", LOCAL)
def test_a_local_receiver_is_allowed_for_development_only(url):
    check_url(url, allow_local=True)
    with pytest.raises(UrlNotAllowed):
        check_url(url, allow_local=False)


@pytest.mark.parametrize(
    "url",
    [url for url in REFUSED if url not in LOCAL and "localhost" not in url.lower()
     and not url.startswith(("https://127.0.0.1/", "https://[::1]/"))]
    + ["http://10.0.0.1/", "http://169.254.169.254/", "http://0.0.0.0/", "http://[::]/", "http://[::ffff:127.0.0.1]/",
       "http://[::1%25lo]/", "http://[::1%lo]/", "http://127.1/", "http://localhost.example.com/", "http://localhost./",
       "http://user@localhost/", "ftp://localhost/", "http://a.localhost/"],
)  # fmt: skip
def test_development_allows_nothing_but_this_machine(url):
    with pytest.raises(UrlNotAllowed):
        check_url(url, allow_local=True)


@given(st.text(alphabet=string.printable + "é。", max_size=40), st.booleans())
def test_any_text_is_allowed_or_refused_and_what_is_allowed_is_plain(rest, allow_local):
    url = "https://" + rest
    try:
        check_url(url, allow_local=allow_local)
    except UrlNotAllowed:
        return
    parts = urlsplit(url)
    assert url.isascii()
    assert not set(url) & set(" \r\n\t\x0b\x0c\\#")
    assert parts.netloc.lower() in (parts.hostname, f"{parts.hostname}:", f"{parts.hostname}:{parts.port}")

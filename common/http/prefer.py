"""The `Prefer` header (RFC 7240)."""

import re


def wait_of(header: str) -> int | None:
    """The seconds of `wait=N` in a `Prefer` header; None when there is none, or not a sane one.

    Names know no case, a value may stand in quotes and be followed by parameters, and of a preference that stands
    twice the first counts. What cannot be read is no preference: it is never an error (RFC 7240, 2).
    """
    from werkzeug.http import parse_list_header, parse_options_header

    for preference in parse_list_header(header):
        name, _, value = parse_options_header(preference)[0].partition("=")
        if name.strip().lower() == "wait":
            digits = value.strip().strip('"')
            return int(digits) if re.fullmatch(r"[0-9]{1,9}", digits) else None
    return None

"""When a delivery is tried again."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import ConfigError, read
from common.webhooks import schedule
from common.webhooks.schedule import JITTER, parse_retry_after

DELAYS = read({}).webhook_retry_delays
SETTING = "WEBHOOK_RETRY_DELAYS_S"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = 24 * 3600
steps = st.integers(1, len(DELAYS))
draws = st.floats(-1, 1)
floors = st.none() | st.floats(0, 1e12)
schedules = st.lists(st.floats(1, 1e6), min_size=1, max_size=20).map(sorted)
passed = st.floats(0, 2 * sum(DELAYS))


def next_delay(done, retry_after, delays, jitter=None, elapsed=0.0):
    return schedule.next_delay(done, retry_after, delays, elapsed=elapsed, jitter=jitter)


def test_the_schedule_is_the_documented_one():
    minute, hour = 60, 3600
    assert [next_delay(done, None, DELAYS, jitter=0) for done in range(1, 12)] == [
        *(5, 30, 2 * minute, 10 * minute, 30 * minute),
        *(2 * hour, 5 * hour, 10 * hour, 14 * hour, 20 * hour, 24 * hour),
    ]
    assert 3 * DAY < sum(DELAYS) < 3.5 * DAY


def test_after_the_last_step_there_is_no_further_attempt():
    assert next_delay(len(DELAYS), None, DELAYS) is not None
    assert next_delay(len(DELAYS) + 1, None, DELAYS) is None
    assert next_delay(len(DELAYS) + 1, 60.0, DELAYS) is None


@given(steps)
def test_the_jitter_is_within_a_fifth(done):
    nominal = DELAYS[done - 1]
    assert (1 - JITTER) * nominal <= next_delay(done, None, DELAYS) <= (1 + JITTER) * nominal
    assert JITTER == 0.2


def test_the_jitter_is_drawn_anew_and_from_both_sides():
    drawn = [next_delay(6, None, DELAYS) for _ in range(200)]
    assert len(set(drawn)) > 150
    nominal = DELAYS[5]
    assert min(drawn) < 0.9 * nominal < 1.1 * nominal < max(drawn)


@given(schedules, draws)
def test_with_the_same_draw_every_step_is_at_least_as_long_as_the_one_before(delays, draw):
    waits = [next_delay(done, None, delays, draw) for done in range(1, len(delays) + 1)]
    assert waits == sorted(waits)


@given(steps, floors, draws, passed)
def test_retry_after_is_a_floor_within_what_is_left_of_the_window(done, retry_after, draw, elapsed):
    plain = next_delay(done, None, DELAYS, draw, elapsed)
    delay = next_delay(done, retry_after, DELAYS, draw, elapsed)
    left = sum(DELAYS) - elapsed
    assert delay >= min(retry_after or 0, left)
    assert delay >= plain
    assert delay == plain or delay <= left


@given(schedules, st.lists(floors, min_size=20, max_size=20), st.lists(draws, min_size=20, max_size=20))
def test_whatever_a_receiver_asks_for_a_delivery_ends_within_two_windows(delays, asked, drawn):
    elapsed = 0.0
    for done in range(1, len(delays) + 1):
        elapsed += next_delay(done, asked[done - 1], delays, drawn[done - 1], elapsed)
    assert elapsed <= (2 + JITTER) * sum(delays) * (1 + 1e-9)


@given(floors, draws)
def test_an_attempt_by_hand_before_the_first_scheduled_one_leaves_the_first_step(retry_after, draw):
    assert next_delay(0, retry_after, DELAYS, draw) == next_delay(1, retry_after, DELAYS, draw)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(
            ("0", 0.0),
            ("120", 120.0),
            (" 120 ", 120.0),
            ("31536000", 31536000.0),
            ("9" * 11, 99999999999.0),
            ("9" * 400, math.inf),
        ),
        ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
        ("Sunday, 01-Mar-26 12:01:00 GMT", 60.0),
        ("Sun Mar  1 12:01:00 2026", 60.0),
        ("Sun, 01 Mar 2026 13:01:00 +0100", 60.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", (datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - NOW).total_seconds()),
        *((None, None), ("", None), (" ", None), ("soon", None), ("-5", None), ("+5", None), ("1.5", None)),
        *(("1e3", None), ("0x10", None), ("5 s", None), ("５", None), ("120, 240", None)),
        *(("Thu, 99 Foo 0000 99:99:99 +9999", None), ("Mon, 01 Jan 0001 00:00:00 +9999", None), ("NaN", None)),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_nothing_else(value, seconds):
    assert parse_retry_after(value, NOW) == seconds


@given(st.integers(0, 10**9))
def test_a_date_is_as_far_away_as_it_says(seconds):
    moment = NOW + timedelta(seconds=seconds)
    assert parse_retry_after(format_datetime(moment, usegmt=True), NOW) == seconds


PIECES = st.sampled_from(
    [*"Mon Tue , 0 1 31 99 Feb Mar 2026 26 0000 9999 99999 12:00:00 1:2 : +0000 -9999 GMT - ( ) ;".split(), " "]
)


@given(st.text(max_size=60) | st.lists(PIECES, max_size=10).map(" ".join) | st.lists(PIECES, max_size=10).map("".join))
def test_no_text_raises_or_lies_in_the_past(value):
    assert (parse_retry_after(value, NOW) or 0) >= 0


def test_the_schedule_is_configurable():
    assert read({SETTING: "1, 2.5"}).webhook_retry_delays == (1.0, 2.5)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", ",", "2592001"])
def test_a_schedule_that_cannot_be_is_refused(value):
    with pytest.raises(ConfigError, match=SETTING):
        read({SETTING: value})

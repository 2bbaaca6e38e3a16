"""When a failed delivery is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config import ConfigError, read
from common.webhooks.schedule import JITTER, next_delay

DELAYS = read({}).webhook_retry_delays
SETTING = "WEBHOOK_RETRY_DELAYS_S"
jitters = st.floats(-1, 1)
schedules = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=20)


def test_the_default_schedule_lasts_about_three_days():
    assert 3 * 86400 <= sum(DELAYS) <= 3.3 * 86400


@given(schedules, jitters)
def test_there_is_one_attempt_more_than_there_are_delays(delays, jitter):
    given_up = [next_delay(done, None, delays, jitter) is None for done in range(1, len(delays) + 2)]
    assert given_up == [False] * len(delays) + [True]


@given(st.integers(1, len(DELAYS)))
def test_a_delay_varies_by_a_fifth(done):
    drawn = next_delay(done, None, DELAYS)
    assert DELAYS[done - 1] * (1 - JITTER) <= drawn <= DELAYS[done - 1] * (1 + JITTER)


@given(st.integers(0, len(DELAYS)), st.floats(0, 1e9), jitters)
def test_what_a_receiver_asks_for_is_a_floor_within_the_window(done, asked, jitter):
    plain, told = (next_delay(done, retry_after, DELAYS, jitter) for retry_after in (None, asked))
    left = sum(DELAYS[max(done, 1) - 1 :])
    assert told == max(plain, min(asked, left))


@given(jitters)
def test_an_attempt_by_hand_before_any_other_is_followed_by_the_first_delay(jitter):
    assert next_delay(0, None, DELAYS, jitter) == next_delay(1, None, DELAYS, jitter)


def test_the_schedule_is_configurable():
    assert read({SETTING: "1, 2.5"}).webhook_retry_delays == (1.0, 2.5)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "soon", ",", "2592001"])
def test_a_schedule_that_cannot_be_is_refused(value):
    with pytest.raises(ConfigError, match=SETTING):
        read({SETTING: value})

"""Webhook secrets at rest, and the rotation of the keys they are encrypted with."""

import pytest
from cryptography.fernet import Fernet, InvalidToken

from common.webhooks.secrets import SealedError, open_, seal
from common.webhooks.signing import new_secret


@pytest.fixture
def keys():
    return [Fernet.generate_key().decode() for _ in range(3)]


def test_a_sealed_secret_is_opened_by_its_key_and_hidden_from_who_reads_it(keys):
    secret = new_secret()
    sealed = seal(secret, keys[:1])
    assert secret.encode() not in sealed
    assert secret.removeprefix("whsec_").encode() not in sealed
    assert open_(sealed, keys[:1]) == secret


def test_the_same_secret_is_sealed_differently_each_time(keys):
    secret = new_secret()
    assert seal(secret, keys) != seal(secret, keys)


def test_a_new_key_in_front_seals_and_the_old_one_still_opens(keys):
    old, new, _ = keys
    secret = new_secret()
    before = seal(secret, [old])
    assert open_(before, [new, old]) == secret
    after = seal(secret, [new, old])
    assert Fernet(new).decrypt(after).decode() == secret
    with pytest.raises(InvalidToken):
        Fernet(old).decrypt(after)


def test_a_retired_key_s_secrets_are_refused_in_words(keys):
    sealed = seal(new_secret(), keys[:1])
    with pytest.raises(SealedError, match="no configured key opens"):
        open_(sealed, keys[1:])


def test_a_sealed_secret_that_was_changed_is_refused(keys):
    sealed = bytearray(seal(new_secret(), keys))
    sealed[40] ^= 1
    with pytest.raises(SealedError, match="no configured key opens"):
        open_(bytes(sealed), keys)


@pytest.mark.parametrize("wrong", [[], [""], ["too short"]])
def test_without_a_usable_key_nothing_is_sealed(wrong):
    with pytest.raises(ValueError):
        seal(new_secret(), wrong)


@pytest.mark.parametrize("wrong", [[], [""], ["too short"]])
def test_without_a_usable_key_nothing_is_opened_and_the_key_is_not_told(keys, wrong):
    with pytest.raises(SealedError) as refused:
        open_(seal(new_secret(), keys), wrong)
    assert "short" not in str(refused.value)

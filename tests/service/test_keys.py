import pytest

from service.keys import ALL_SCOPES, ApiKey, Keyring, Scope, parse_api_key


def test_a_plain_key_may_do_everything() -> None:
    assert parse_api_key("secret") == ApiKey("secret", ALL_SCOPES)


def test_scopes_follow_the_last_colon() -> None:
    assert parse_api_key("se:cret:ingest+read") == ApiKey("se:cret", frozenset({Scope.INGEST, Scope.READ}))


@pytest.mark.parametrize("entry", ["secret:write", "secret:", "secret:read+", ":read", "", "two words", "schlüssel"])
def test_what_is_no_key_is_refused_without_being_repeated(entry: str) -> None:
    with pytest.raises(ValueError, match="key") as refusal:
        parse_api_key(entry)
    assert not entry or entry not in str(refusal.value)


def test_an_id_and_a_text_form_do_not_give_the_key_away() -> None:
    key = ApiKey("secret")
    assert key.id == "2bb80d53"
    assert "secret" not in repr(key)


def test_a_keyring_finds_the_key_that_is_equal_and_no_other() -> None:
    keyring = Keyring([ApiKey("one"), ApiKey("two", frozenset({Scope.READ}))])
    assert keyring.find("two") == ApiKey("two", frozenset({Scope.READ}))
    assert [keyring.find(wrong) for wrong in ("tw", "two ", "TWO", "", "\u00e9")] == [None] * 5

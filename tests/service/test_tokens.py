"""Tokens: words from which only the server can tell the id."""

from hypothesis import given
from hypothesis import strategies as st

from service.tokens import id_of, token_of

KEY = bytes(range(32))
ids = st.binary(min_size=16, max_size=16)


@given(ids)
def test_the_server_tells_the_id_from_the_token(id_: bytes) -> None:
    assert id_of(KEY, token_of(KEY, id_)) == id_


def test_a_token_shows_nothing_of_its_id_and_depends_on_the_key() -> None:
    one, other = token_of(KEY, bytes(16)), token_of(KEY, bytes(15) + b"\1")
    assert sum(a == b for a, b in zip(one, other, strict=True)) <= 3
    assert one[8:] != bytes(8) != one[:8]
    assert token_of(bytes(32), bytes(16)) != one
    assert id_of(bytes(32), one) != bytes(16)

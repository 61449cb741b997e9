import base64
import hashlib
import json
import random
import re
from concurrent.futures import ThreadPoolExecutor

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from events.codec import DICTIONARY, Codec, Content, Offloaded, offload, offloaded, pack, restored, unpack
from events.jsontext import split_object
from events.kinds import CONTENTS_MEMBER, UNSAID, run_fields

LONG = b'{"inputs": {"messages": [{"role": "user", "content": "hello"}]}, "tags": ["a", "b"]}'


@given(st.binary() | st.binary(max_size=8).map(lambda part: part * 100))
def test_what_is_packed_unpacks_to_the_same_bytes(payload: bytes) -> None:
    codec, stored = pack(payload)
    assert unpack(codec, stored) == payload
    assert len(stored) <= len(payload)


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_any_json_survives(value: dict[str, object]) -> None:
    payload = json.dumps(value).encode()
    assert unpack(*pack(payload)) == payload


def test_what_compressing_would_not_make_smaller_is_stored_as_it_is() -> None:
    noise = random.Random(1).randbytes(1000)
    assert pack(b"") == (Codec.JSON, b"")
    assert pack(b'{"a": 1}') == (Codec.JSON, b'{"a": 1}')
    assert pack(noise) == (Codec.JSON, noise)
    assert pack(LONG)[0] == Codec.ZSTD


def test_the_codec_also_says_that_fields_were_moved() -> None:
    assert pack(b"{}", Codec.OFFLOADED)[0] == Codec.OFFLOADED
    codec, stored = pack(LONG, Codec.OFFLOADED)
    assert codec == Codec.OFFLOADED | Codec.ZSTD
    assert unpack(int(codec), stored) == LONG


def test_usual_keys_cost_next_to_nothing() -> None:
    payload = b'{"additional_kwargs":{},"response_metadata":{"token_usage":{"prompt_tokens":1,"completion_tokens":2}}}'
    assert len(pack(payload)[1]) < 0.7 * len(payload)


# What was stored with it is read with it. A better dictionary gets a bit of its own in `Codec`.
def test_the_dictionary_never_changes() -> None:
    assert hashlib.sha256(DICTIONARY).hexdigest() == "7b5fe40b242de429a11a32ea0ede5d3992af06c63cd12b3a961f453c918c99ed"


def test_the_dictionary_is_made_of_the_keys_of_sdks_alone() -> None:
    keys, separator, punctuation = DICTIONARY.partition(b'"},{"')
    assert re.fullmatch(rb'("[A-Za-z_-]{2,24}":)+', keys)
    assert re.fullmatch(rb'["{}\[\],:]+', separator + punctuation)


def test_what_was_stored_years_ago_still_unpacks() -> None:
    stored = "KLUv/SBU3QEAVAJ7IHtzIjogW3sgLCAgImhlbGxvIn1dfSwgIFsiYSIsICJiIl19BgBMK/+qYiNPMdhOkSEYSZpcYCE="
    assert unpack(1, base64.b64decode(stored)) == LONG


def test_threads_do_not_disturb_each_other() -> None:
    payloads = [orjson.dumps({"inputs": {"text": f"{number} " * (10 + number)}}) for number in range(200)]

    def survives(payload: bytes) -> bool:
        return all(unpack(*pack(payload)) == payload for _ in range(20))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(survives, payloads))


# --- fields too large for the log -------------------------------------------------------------------------------------


def moved_of(name: str, raw: bytes) -> dict[str, Offloaded]:
    return {name: Offloaded(hashlib.sha256(raw).hexdigest(), len(raw), raw[:10].decode())}


def test_what_was_moved_can_be_told_from_what_is_left() -> None:
    members = split_object(b'{"id": "1", "outputs": {"text": "long"}, "extra": 1e2, "na\\u006de": "n"}')
    moved = moved_of("outputs", members["outputs"])
    payload = offload(members, moved)
    fields = run_fields(payload)
    assert offloaded(fields.contents) == moved
    assert fields.outputs == UNSAID
    assert split_object(payload) == {
        "id": b'"1"',
        "extra": b"1e2",
        "name": b'"n"',
        CONTENTS_MEMBER: msgspec.json.encode(moved),
    }


def test_nothing_moved_says_nothing() -> None:
    assert offloaded(run_fields(b'{"outputs": {}}').contents) == {}
    assert offloaded(Raw(b"")) == {}


def test_a_client_that_sends_our_member_does_not_get_through_with_it() -> None:
    members = {"outputs": b"1", CONTENTS_MEMBER: b'{"inputs": {"hash": "00", "size": 1, "preview": ""}}'}
    moved = moved_of("outputs", b"1")
    assert offloaded(run_fields(offload(members, moved)).contents) == moved


@pytest.mark.parametrize("name", sorted({"inputs", "outputs", "events", "extra", "error", "serialized"}))
def test_any_field_can_be_moved(name: str) -> None:
    moved = moved_of(name, b'"x"')
    assert offloaded(run_fields(offload({name: b'"x"', "id": b"1"}, moved)).contents) == moved


def test_what_was_moved_can_be_put_back() -> None:
    members = {"id": b'"1"', "inputs": b'{"a": 1}', "outputs": b'{"b": 2}'}
    moved = moved_of("inputs", members["inputs"]) | moved_of("outputs", members["outputs"])
    contents = [Content(bytes.fromhex(moved[name].hash), members[name]) for name in moved]
    left = offload(members, moved, {"outputs": b"{}"})
    assert split_object(restored(left, contents)) == members
    assert split_object(restored(left, contents[:1])) == {**members, "outputs": b"{}"}


@given(st.dictionaries(st.text(), st.integers(0, 9)))
def test_what_is_not_moved_stays_as_it_was(value: dict[str, int]) -> None:
    members = split_object(orjson.dumps(value))
    kept = split_object(offload(members, moved_of("outputs", b"1")))
    assert {k: v for k, v in members.items() if k not in ("outputs", CONTENTS_MEMBER)} == {
        k: v for k, v in kept.items() if k != CONTENTS_MEMBER
    }

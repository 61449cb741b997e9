"""Payload bytes to stored bytes and back.

A stored payload is the item's JSON, compressed with zstd where that makes it smaller. Its codec number says how:

    bit 0   zstd, level 1, with `DICTIONARY`
    bit 1   fields too large for the log were moved to the content store; the member `agent-spy:contents` says where

The dictionary is a fixed list of JSON keys and nothing from users' data: what is erased must not live on in it. It can
never change; a better one gets a bit of its own.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntFlag
from types import MappingProxyType
from typing import Final

import msgspec
import zstandard
from msgspec import Raw

from events.jsontext import split_object
from events.kinds import CONTENTS_MEMBER, UNSAID
from events.upcasters import joined


class Codec(IntFlag):
    """How a stored payload is to be read."""

    JSON = 0
    ZSTD = 1
    OFFLOADED = 2


_KEYS: Final = (
    "lc_source_filename langgraph_checkpoint_ns langgraph_triggers langgraph_path langgraph_step langgraph_node "
    "checkpoint_ns thread_id conversation_id session_id ls_integration ls_method ls_model_type ls_temperature "
    "ls_max_tokens ls_stop ls_provider ls_model_name ls_invocation_params usage_metadata input_token_details "
    "output_token_details cache_read cache_creation reasoning audio input_tokens output_tokens total_tokens "
    "prompt_tokens completion_tokens token_usage llm_output generations generation_info finish_reason text message "
    "constructor langchain schema messages HumanMessage AIMessage SystemMessage ToolMessage AIMessageChunk "
    "additional_kwargs response_metadata tool_calls invalid_tool_calls tool_call_id function arguments "
    "page_content Document metadata source kwargs content role user assistant system tool choices index delta "
    "child_runs execution_order child_execution_order reference_example_id serialized manifest_id revision_id "
    "invocation_params options batch_size runtime sdk sdk_version library langsmith langsmith-py langsmith-js platform "
    "py_implementation CPython runtime_version langchain_version langchain_core_version LANGSMITH_ENDPOINT "
    "LANGSMITH_TRACING LANGSMITH_PROJECT new_token start end error time name events tags parent_run_id dotted_order "
    "trace_id session_name project_name run_type chain llm prompt parser retriever embedding extra inputs outputs "
    "input output end_time start_time id null true false"
)
DICTIONARY: Final = "".join(f'"{key}":' for key in _KEYS.split(" ")).encode() + b'"},{"],":["}],":[{"}},"'

_ZSTD_BIT: Final = int(Codec.ZSTD)  # Members of an enumeration take a microsecond to compare or combine.
_AS_IT_CAME: Final = int(Codec.JSON)
_ZSTD_LEVEL: Final = 1
_WORTH_COMPRESSING_BYTES: Final = 64


class _Contexts(threading.local):
    """Compression contexts cost 20 times what a small payload does, and may not be shared between threads."""

    def __init__(self) -> None:
        words = zstandard.ZstdCompressionDict(DICTIONARY, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        self.compress = zstandard.ZstdCompressor(
            level=_ZSTD_LEVEL, dict_data=words, write_checksum=False, write_dict_id=False
        ).compress
        self.decompress = zstandard.ZstdDecompressor(dict_data=words).decompress


_contexts = _Contexts()


def pack(payload: bytes, codec: int = _AS_IT_CAME) -> tuple[int, bytes]:
    """The number of the codec and the bytes to store for a payload."""
    if len(payload) >= _WORTH_COMPRESSING_BYTES:
        packed = _contexts.compress(payload)
        if len(packed) < len(payload):
            return codec | _ZSTD_BIT, packed
    return codec, payload


def unpack(codec: int, stored: bytes) -> bytes:
    """The payload that `pack` was given."""
    return _contexts.decompress(stored) if codec & _ZSTD_BIT else stored


# --- fields too large for the log -------------------------------------------------------------------------------------


class Offloaded(msgspec.Struct, frozen=True):
    """Where a large field went: the sha256 of its bytes (hex), their number, and the beginning to show."""

    hash: str
    size: int
    preview: str


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes for the content store, with their sha256."""

    hash: bytes
    body: bytes


_NONE: Final[Mapping[str, bytes]] = MappingProxyType({})
_decode_offloaded = msgspec.json.Decoder(dict[str, Offloaded]).decode


def offloaded(contents: Raw) -> dict[str, Offloaded]:
    """What the `contents` of `RunFields` say, by field name; empty when nothing was moved."""
    return {} if contents is UNSAID or contents == UNSAID else _decode_offloaded(contents)


def offload(members: dict[str, bytes], moved: dict[str, Offloaded], essences: Mapping[str, bytes] = _NONE) -> bytes:
    """The payload that is left of an item when the fields in `moved` went to the content store.

    `essences` stay in their place: small values of which readers learn the same.
    """
    kept = {name: raw for name, raw in members.items() if name not in moved and name != CONTENTS_MEMBER}
    return joined({**kept, **essences, CONTENTS_MEMBER: msgspec.json.encode(moved)})


def restored(payload: bytes, contents: Iterable[Content]) -> bytes:
    """The item that `offload` left this payload of: the fields whose contents are given are back in their places."""
    members = split_object(payload)
    moved = _decode_offloaded(members.pop(CONTENTS_MEMBER))
    bodies = {content.hash.hex(): content.body for content in contents}
    return joined({**members, **{name: bodies[to.hash] for name, to in moved.items() if to.hash in bodies}})

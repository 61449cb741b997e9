"""What a narrow row keeps of a run's big fields: usage, model, thread, time of the first token, a short
preview.

Every function takes the JSON bytes of one field as the client sent them, looks only at the members that it
needs, and answers for any bytes: what is not there, or is not what it should be, is None. JSON null is "not
said".
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple

import msgspec

from events import jsontext
from events.jsontext import REFUSALS
from events.times import parse_time

NUMBER_LIMIT = 2**62
"""Counts and amounts are smaller than this, so that sums of a few still fit a database's 64-bit integer."""
TEXT_CHARS_MAX = 500
"""Names and thread ids are cut to this: PostgreSQL refuses index entries beyond 2.7 kB."""
PREVIEW_BYTES_MAX = 64 * 1024
"""A larger field is not looked into for its preview: that is the beginning of its text."""
PREVIEW_CHARS = 200

# Of an exponent three digits are enough for every double; 1e999999 would be written out.
_AMOUNT = re.compile(rb"-?\d{1,100}(\.\d{1,100})?([eE][+-]?\d{1,3})?")
_PICODOLLAR_DIGITS = 12
# As many digits as _AMOUNT takes, so that nothing is rounded before the last step.
_EXACT = Context(prec=256, rounding=ROUND_HALF_EVEN)

_INPUT_TOKENS = ("input_tokens", "prompt_tokens", "promptTokens")
_OUTPUT_TOKENS = ("output_tokens", "completion_tokens", "completionTokens")
_TOTAL_TOKENS = ("total_tokens", "totalTokens")
_INPUT_COST = ("input_cost", "prompt_cost")
_OUTPUT_COST = ("output_cost", "completion_cost")
_TOTAL_COST = ("total_cost",)
_TELL_USAGE = frozenset({"usage_metadata", "generations", "llm_output", "llmOutput", "usage"})
_TELL_MODEL = frozenset({"generations", "llm_output", "model_name", "model"})

Members = Mapping[str, bytes]


class Usage(msgspec.Struct, frozen=True):
    """Token counts, and costs in picodollars (1e-12 USD); None where nothing was said.

    A total that is missing is the sum of the parts that are known.
    """

    prompt_tokens: int | None
    completion_tokens: int | None
    total_tokens: int | None
    prompt_cost: int | None
    completion_cost: int | None
    total_cost: int | None


class ExtraFacts(msgspec.Struct, frozen=True):
    """What `extra` says: texts fit for a column, and `usage_metadata` as a JSON object.

    `metadata` is decoded where that loses nothing; of any other `metadata_of` has the bytes.
    """

    metadata: dict[str, Any] | None = None
    session_id: str | None = None
    conversation_id: str | None = None
    thread_id: str | None = None
    ls_provider: str | None = None
    ls_model_name: str | None = None
    usage_metadata: bytes | None = None
    invocation_model: str | None = None


def usage_of_metadata(metadata_usage_raw: bytes) -> Usage | None:
    """The usage in `extra.metadata.usage_metadata`; None when it names no number."""
    return _usage(_members(metadata_usage_raw))


def usage_of_outputs(outputs_raw: bytes) -> Usage | None:
    """The usage in a run's outputs, from the first of these that names a number; None when none does.

    `usage_metadata`; the `usage_metadata` of the messages in LangChain's `generations`, summed;
    `llm_output.token_usage`; `usage` as OpenAI's APIs give it.
    """
    if b"usage" not in outputs_raw and b"Usage" not in outputs_raw:
        return None
    outputs = _members_again(outputs_raw)
    if outputs.keys().isdisjoint(_TELL_USAGE):
        return None
    return (
        _usage(_members(outputs.get("usage_metadata", b"")))
        or _sum(_usage(_members(raw)) for raw in _generated(outputs, "usage_metadata"))
        or _usage(_members(_members(outputs.get("llm_output", b"")).get("token_usage", b"")))
        or _usage(_members(_members(outputs.get("llmOutput", b"")).get("tokenUsage", b"")))
        or _usage(_members(outputs.get("usage", b"")))
    )


def model_of_outputs(outputs_raw: bytes) -> str | None:
    """The model that answered: named by one of LangChain's generations, else by the outputs."""
    if b'"model' not in outputs_raw:
        return None
    outputs = _members_again(outputs_raw)
    if outputs.keys().isdisjoint(_TELL_MODEL):
        return None
    for raw in _generated(outputs, "response_metadata"):
        model = _model(_members(raw))
        if model is not None:
            return model
    return _model(_members(outputs.get("llm_output", b""))) or _model(outputs)


def extra_facts(extra_raw: bytes) -> ExtraFacts:
    """What `extra` says; nothing but None when it is no object."""
    try:
        usual = _decode_usual_extra(extra_raw)
    except REFUSALS:
        return _odd_extra_facts(extra_raw)
    metadata = usual.metadata
    invocation = usual.invocation_params
    model = None if invocation is None else _column(invocation.model) or _column(invocation.model_name)
    if metadata is None:
        return ExtraFacts(invocation_model=model)
    texts = [metadata.get(name) for name in _METADATA_TEXTS]
    if not all(text is None or type(text) is str for text in texts):
        return _odd_extra_facts(extra_raw)
    session_id, conversation_id, thread_id, provider, name = map(_column, texts)
    usage = _usage_object(extra_raw) if "usage_metadata" in metadata else None
    return ExtraFacts(metadata, session_id, conversation_id, thread_id, provider, name, usage, model)


_METADATA_TEXTS = ("session_id", "conversation_id", "thread_id", "ls_provider", "ls_model_name")


def metadata_of(extra_raw: bytes) -> bytes | None:
    """The `metadata` in `extra`, a JSON object; None where there is none."""
    return _object(_members(extra_raw), "metadata")


def _usage_object(extra_raw: bytes) -> bytes | None:
    """Its numbers may have more digits than a float keeps, so it is not looked at decoded."""
    return _object(_members(metadata_of(extra_raw) or b""), "usage_metadata")


class _UsualInvocation(msgspec.Struct, frozen=True):
    model: str | None = None
    model_name: str | None = None


class _UsualExtra(msgspec.Struct, frozen=True):
    metadata: dict[str, Any] | None = None
    invocation_params: _UsualInvocation | None = None


_decode_usual_extra = msgspec.json.Decoder(_UsualExtra).decode


def _odd_extra_facts(extra_raw: bytes) -> ExtraFacts:
    """The same of an `extra` in which something is not what it usually is."""
    extra = _members(extra_raw)
    invocation = _members(extra.get("invocation_params", b""))
    metadata = _members(extra.get("metadata", b""))
    return ExtraFacts(
        session_id=_key(metadata, "session_id"),
        conversation_id=_key(metadata, "conversation_id"),
        thread_id=_key(metadata, "thread_id"),
        ls_provider=_text(metadata, "ls_provider"),
        ls_model_name=_text(metadata, "ls_model_name"),
        usage_metadata=_object(metadata, "usage_metadata"),
        invocation_model=_text(invocation, "model") or _text(invocation, "model_name"),
    )


def first_token_time(events_raw: bytes) -> int | None:
    """When the first event named `new_token` that has a time happened, in microseconds since 1970."""
    if b"new_token" not in events_raw:
        return None
    for event_raw in _elements(events_raw):
        event = _members(event_raw)
        if _string(event.get("name", b"")) != "new_token":
            continue
        at = parse_time(_value(event.get("time", b"")))
        if at is not None:
            return at
    return None


def preview(raw: bytes, chars_max: int = PREVIEW_CHARS) -> str:
    """A line of readable text for lists, of at most `chars_max` characters; an ellipsis ends what was cut.

    Of a conversation it is the answer when it ends with one, else the last thing the human said; of
    generations and choices the first; of a string, or of an object that holds nothing but one, that string;
    of null nothing; of anything else compact JSON. It has no control characters and always encodes to UTF-8.
    """
    if len(raw) <= PREVIEW_BYTES_MAX:
        raw = raw.strip()
        if raw == b"null":
            return ""
        text = _readable(raw)
        if text is not None:
            return _cut(text[: 2 * chars_max], chars_max, more=len(text) > 2 * chars_max)
    return _compact(raw, chars_max)


# Members and values


# A value may have white space before it, or the mark of its byte order.
_MAY_BEGIN_OBJECT = frozenset({b"{", b" ", b"\n", b"\r", b"\t", b"\xef"})
_MAY_BEGIN_ARRAY = _MAY_BEGIN_OBJECT - {b"{"} | {b"["}


def _members(raw: bytes) -> Members:
    """The members of an object; none of anything else."""
    if raw[:1] not in _MAY_BEGIN_OBJECT:
        return {}
    try:
        return jsontext.split_object(raw)
    except jsontext.NotJSON:
        return {}


class _Last(NamedTuple):
    raw: bytes
    members: Members


_last = _Last(b"", {})


def _members_again(raw: bytes) -> Members:
    """The same for a whole field: its usage, its model and its preview are looked for one after the other."""
    global _last
    last = _last
    if last.raw is not raw:
        _last = last = _Last(raw, _members(raw))
    return last.members


def _elements(raw: bytes) -> list[bytes]:
    """The elements of an array; none of anything else."""
    if raw[:1] not in _MAY_BEGIN_ARRAY:
        return []
    try:
        return jsontext.split_array(raw)
    except jsontext.NotJSON:
        return []


def _value(raw: bytes) -> object:
    try:
        return jsontext.loads(raw)
    except jsontext.NotJSON:
        return None


_decode_string = msgspec.json.Decoder(str).decode


def _string(raw: bytes) -> str | None:
    if raw[:1] != b'"':
        return None
    try:
        return _decode_string(raw)
    except REFUSALS:
        value = _value(raw)
        return value if isinstance(value, str) else None


def _object(members: Members, name: str) -> bytes | None:
    raw = members.get(name, b"")
    return raw if raw[:1] == b"{" else None


def _text(members: Members, name: str) -> str | None:
    """A string fit for a column (PostgreSQL refuses U+0000); an empty one says nothing."""
    raw = members.get(name)
    return None if raw is None else _column(_string(raw))


def _column(text: str | None) -> str | None:
    return text.replace("\0", "")[:TEXT_CHARS_MAX] or None if text else None


def _key(members: Members, name: str) -> str | None:
    """A string as `_text` has it, or the digits of a number."""
    raw = members.get(name)
    if raw is None:
        return None
    if _AMOUNT.fullmatch(raw):
        return raw.decode()
    return _text(members, name)


def _model(members: Members) -> str | None:
    return _text(members, "model_name") or _text(members, "model")


def _generated(outputs: Members, name: str) -> Iterator[bytes]:
    """What the messages of all of LangChain's generations hold under a name."""
    for generation in _generations(outputs.get("generations", b"")):
        message = _constructed(_members(generation.get("message", b"")))
        if name in message:
            yield message[name]


def _generations(raw: bytes) -> Iterator[Members]:
    """LangChain has a list for each prompt, in it an object for each candidate."""
    for batch in _elements(raw):
        for generation in _elements(batch) if batch[:1] == b"[" else [batch]:
            yield _members(generation)


def _constructed(message: Members) -> Members:
    """A message itself, or what it was made with when LangChain serialised it as a constructor."""
    return _members(message["kwargs"]) if "kwargs" in message else message


# Usage


def _usage(members: Members) -> Usage | None:
    prompt_tokens = _first(members, _INPUT_TOKENS, _count)
    completion_tokens = _first(members, _OUTPUT_TOKENS, _count)
    total_tokens = _first(members, _TOTAL_TOKENS, _count)
    prompt_cost = _first(members, _INPUT_COST, _picodollars)
    completion_cost = _first(members, _OUTPUT_COST, _picodollars)
    total_cost = _first(members, _TOTAL_COST, _picodollars)
    numbers = (prompt_tokens, completion_tokens, total_tokens, prompt_cost, completion_cost, total_cost)
    if numbers == (None,) * 6:
        return None
    if total_tokens is None:
        total_tokens = _added(prompt_tokens, completion_tokens)
    if total_cost is None:
        total_cost = _added(prompt_cost, completion_cost)
    return Usage(prompt_tokens, completion_tokens, total_tokens, prompt_cost, completion_cost, total_cost)


def _first(members: Members, names: Iterable[str], read: Callable[[bytes], int | None]) -> int | None:
    for name in names:
        raw = members.get(name)
        number = None if raw is None else read(raw)
        if number is not None:
            return number
    return None


def _count(raw: bytes) -> int | None:
    # On bytes isdigit knows ASCII digits only. The bound is there because int() takes quadratic time.
    if not raw.isdigit() or len(raw) > 19:
        return None
    count = int(raw)
    return count if count < NUMBER_LIMIT else None


def _picodollars(raw: bytes) -> int | None:
    """An amount in USD, a JSON number or a string of one; what is finer than a picodollar is rounded."""
    if raw[:1] == b'"':
        raw = raw[1:-1]
    if not _AMOUNT.fullmatch(raw):
        return None
    picodollars = _EXACT.scaleb(Decimal(raw.decode()), _PICODOLLAR_DIGITS)
    return _within_limit(int(_EXACT.to_integral_value(picodollars)))


def _sum(usages: Iterable[Usage | None]) -> Usage | None:
    said = [usage for usage in usages if usage is not None]
    if len(said) < 2:
        return said[0] if said else None
    return Usage(
        prompt_tokens=_added(*(usage.prompt_tokens for usage in said)),
        completion_tokens=_added(*(usage.completion_tokens for usage in said)),
        total_tokens=_added(*(usage.total_tokens for usage in said)),
        prompt_cost=_added(*(usage.prompt_cost for usage in said)),
        completion_cost=_added(*(usage.completion_cost for usage in said)),
        total_cost=_added(*(usage.total_cost for usage in said)),
    )


def _added(*numbers: int | None) -> int | None:
    known = [number for number in numbers if number is not None]
    return _within_limit(sum(known)) if known else None


def _within_limit(number: int) -> int | None:
    return number if -NUMBER_LIMIT < number < NUMBER_LIMIT else None


# Previews

_HUMAN = frozenset({"human", "user"})
_ASSISTANT = frozenset({"ai", "assistant", "aimessagechunk"})
_PROMPT_NAMES = ("input", "prompt")
_UNWRAPPED_LEVELS_MAX = 3

# White space is not in here, it becomes a space. The last two ranges turn the direction of text around.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[^"\s]++', re.DOTALL)
# Text without escapes that has no white space between its tokens.
_COMPACT = re.compile(r'(?:[^"\s]++|"[^"]*+"?)*+')
# How many characters a cut within a character or a token may change at most.
_CUT_CHARS = 12
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


def _readable(raw: bytes, levels: int = _UNWRAPPED_LEVELS_MAX) -> str | None:
    """The text that a value is about; None when it is not known to be about one."""
    if raw[:1] == b'"':
        return _string(raw)
    if raw[:1] == b"[":
        return _said_in_conversation(raw)
    members = _members_again(raw)
    text = _said(members)
    if text is None and len(members) == 1 and levels:
        (only,) = members.values()
        return _readable(only, levels - 1)
    return text


def _said(members: Members) -> str | None:
    if members.keys().isdisjoint(_SPEAKING):
        return None
    for name, read in _SHAPES:
        text = read(members[name]) if name in members else None
        if text:
            return text
    if "content" in members or ("lc" in members and "kwargs" in members):
        return _said_in_message(_constructed(members)) or None
    if "model" in members:
        for name in _PROMPT_NAMES:
            text = _string(members.get(name, b"")) or _said_in_conversation(members.get(name, b""))
            if text:
                return text
    return None


def _said_in_messages(raw: bytes) -> str | None:
    """What a conversation says; its messages may be bare strings."""
    return _said_in_conversation(raw) or next(filter(None, map(_string, reversed(_conversation(raw)))), None)


def _said_in_conversation(raw: bytes) -> str | None:
    """The last message when it is an answer, else the last of a human, else the last that says anything."""
    last = None
    for at, message_raw in enumerate(reversed(_conversation(raw))):
        message = _constructed(_members(message_raw))
        role = _role(message)
        text = _said_in_message(message) if role else None
        if text and (role in _HUMAN or (at == 0 and role in _ASSISTANT)):
            return text
        last = last or text
    return last


def _conversation(raw: bytes) -> list[bytes]:
    """The messages; LangChain has a list of them for each prompt of a batch, and then it is the first."""
    messages = _elements(raw)
    return _elements(messages[0]) if messages and messages[0][:1] == b"[" else messages


def _said_in_message(message: Members) -> str | None:
    raw = message.get("content", b"")
    text = _string(raw) or _said_in_blocks(raw)
    return text or _calls(message)


def _said_in_blocks(raw: bytes) -> str:
    blocks = (_string(block) or _string(_members(block).get("text", b"")) for block in _elements(raw))
    return " ".join(text for text in blocks if text)


def _calls(message: Members) -> str | None:
    """The tool calls of a message without words: `search({"query":"x"})`."""
    calls = [_members(call) for call in _elements(message.get("tool_calls", b""))] or [message]
    called = []
    for call in calls:
        function = _members(call.get("function", b"")) or call
        arguments = function.get("args", function.get("arguments", b""))
        name = _string(function.get("name", b""))
        if name and arguments:
            called.append(f"{name}({_string(arguments) or _compact(arguments, PREVIEW_CHARS)})")
    return " ".join(called) or None


def _role(message: Members) -> str:
    return (_string(message.get("role", b"")) or _string(message.get("type", b"")) or "").lower()


def _said_in_generations(raw: bytes) -> str | None:
    for generation in _generations(raw):
        message = _constructed(_members(generation.get("message", b"")))
        return _string(generation.get("text", b"")) or _said_in_message(message)
    return None


def _said_in_choices(raw: bytes) -> str | None:
    for choice_raw in _elements(raw):
        choice = _members(choice_raw)
        message = _members(choice.get("message", choice.get("delta", b"")))
        return _said_in_message(message) or _string(choice.get("text", b""))
    return None


_SHAPES: tuple[tuple[str, Callable[[bytes], str | None]], ...] = (
    ("messages", _said_in_messages),
    ("generations", _said_in_generations),
    ("choices", _said_in_choices),
    ("output", _said_in_conversation),
)


_SPEAKING = frozenset({*(name for name, _ in _SHAPES), "content", "lc", "model"})


def _compact(raw: bytes, chars_max: int) -> str:
    """The beginning of some JSON, or of what should be JSON, without white space between its tokens."""
    # Mostly a few bytes more than are shown will do: what the cut does to the last characters is then not seen.
    near = raw[: chars_max + 2 * _CUT_CHARS]
    if b"\\" not in near:
        text = near.decode(errors="replace")
        line = _line(text if _COMPACT.fullmatch(text) else "".join(_TOKENS.findall(text)))
        if len(line) >= chars_max + _CUT_CHARS:
            return _shortened(line, chars_max)
    # A character is at most four bytes long, or twelve as a pair of escapes.
    escaped = b"\\u" in raw[: 12 * chars_max]
    head_bytes = (12 if escaped else 4) * chars_max
    text = "".join(_TOKENS.findall(raw[:head_bytes].decode(errors="replace")))
    if escaped:
        text = _ESCAPE.sub(_character, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _cut(text, chars_max, more=len(raw) > head_bytes)


def _character(escape: re.Match[str]) -> str:
    """The character of a \\u escape, unless it needs the escape to be told from JSON's own characters."""
    if not escape[1]:
        return escape[0]
    character = chr(int(escape[1], 16))
    needed = character < " " or "\x7f" <= character <= "\x9f" or character in '"\\'
    return escape[0] if needed else character


def _line(text: str) -> str:
    if not text.isprintable():
        text = _UNSEEN.sub("", text)
    elif "  " not in text:  # The only white space that is printable is the plain one.
        return text.strip()
    return " ".join(text.split())


def _cut(text: str, chars_max: int, *, more: bool) -> str:
    line = _line(text)
    return line if len(line) <= chars_max and not more else _shortened(line, chars_max)


def _shortened(line: str, chars_max: int) -> str:
    return line[: chars_max - 1].rstrip() + "…" if chars_max > 0 else ""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.extraction import (
    NUMBER_LIMIT,
    PREVIEW_BYTES_MAX,
    TEXT_CHARS_MAX,
    ExtraFacts,
    Usage,
    extra_facts,
    first_token_time,
    model_of_outputs,
    preview,
    usage_of_metadata,
    usage_of_outputs,
)

# Fields as clients sent them: LangChain 1.4, LangGraph 1.2, langsmith 0.15 wrapping OpenAI, langsmith 0.0.92.
LANGCHAIN_OUTPUTS = (
    b'{"generations":[[{"text":"hello","generation_info":null,"type":"ChatGeneration","message":{"lc":1,'
    b'"type":"constructor","id":["langchain","schema","messages","AIMessage"],"kwargs":{"content":"hello",'
    b'"response_metadata":{"model_name":"fake-gpt","finish_reason":"stop"},"type":"ai","id":"lc_run--0",'
    b'"usage_metadata":{"input_tokens":11,"output_tokens":4,"total_tokens":15,'
    b'"input_token_details":{"cache_read":3}},"tool_calls":[],"invalid_tool_calls":[]}}}]],'
    b'"llm_output":null,"run":null,"type":"LLMResult"}'
)
LANGCHAIN_TOOL_CALL_OUTPUTS = (
    b'{"generations":[[{"text":"","generation_info":null,"type":"ChatGeneration","message":{"lc":1,'
    b'"type":"constructor","id":["langchain","schema","messages","AIMessage"],"kwargs":{"content":"",'
    b'"type":"ai",'
    b'"tool_calls":[{"name":"multiply","args":{"a":6,"b":7},"id":"call_1","type":"tool_call"}],'
    b'"usage_metadata":{"input_tokens":20,"output_tokens":9,"total_tokens":29}}}}]],"llm_output":null}'
)
LANGCHAIN_INPUTS = (
    b'{"messages":[[{"lc":1,"type":"constructor","id":["langchain","schema","messages","SystemMessage"],'
    b'"kwargs":{"content":"You are terse. Context: none","type":"system"}},{"lc":1,"type":"constructor",'
    b'"id":["langchain","schema","messages","HumanMessage"],"kwargs":{"content":"meaning?",'
    b'"type":"human"}}]]}'
)
LANGGRAPH_STATE = (
    b'{"messages":[{"content":"go","additional_kwargs":{},"response_metadata":{},"type":"human","id":"1"},'
    b'{"content":"","response_metadata":{"model_name":"fake-gpt"},"type":"ai","id":"2","tool_calls":'
    b'[{"name":"search","args":{"query":"x"},"id":"call_0","type":"tool_call"}],'
    b'"usage_metadata":{"input_tokens":10,"output_tokens":5,"total_tokens":15}},'
    b'{"content":"result for x","type":"tool","name":"search","tool_call_id":"call_0","status":"success"}]}'
)
OPENAI_OUTPUTS = (
    b'{"id":"chatcmpl-fake1","choices":[{"finish_reason":"stop","index":0,"logprobs":null,'
    b'"message":{"content":'
    b'"Hello there!","refusal":null,"role":"assistant","tool_calls":null}}],"created":1700000000,'
    b'"model":"gpt-4o-mini-2024-07-18","object":"chat.completion","usage_metadata":{"input_tokens":19,'
    b'"output_tokens":6,"total_tokens":25,"input_token_details":{"audio":0,"cache_read":8}}}'
)
OPENAI_TOOL_CALL_OUTPUTS = (
    b'{"choices":[{"message":{"content":null,"role":"assistant","tool_calls":[{"id":"call_1",'
    b'"function":{"arguments":"{\\"city\\": \\"Oslo\\"}","name":"get_weather"},'
    b'"type":"function"}]}}],"model":"gpt-4o-mini"}'
)
OPENAI_RESPONSE_OUTPUTS = (
    b'{"id":"resp_fake1","metadata":{},"model":"gpt-4o-mini","object":"response","output":[{"id":"msg_1",'
    b'"content":[{"annotations":[],"text":"Hello there!","type":"output_text"}],"role":"assistant",'
    b'"status":"completed",'
    b'"type":"message"}],"usage":{"input_tokens":19,"output_tokens":6,"total_tokens":25}}'
)
OPENAI_INPUTS = (
    b'{"messages":[{"role":"system","content":"terse"},{"role":"user","content":[{"type":"text","text":'
    b'"hi \xe2\x80\x93 \xc3\xbc"},{"type":"image_url","image_url":{"url":"data:image/png;base64,'
    b'iVBORw0KGgo="}}]'
    b'}],"model":"gpt-4o-mini","max_tokens":50}'
)
OLD_OUTPUTS = (
    b'{"choices": [{"message": {"role": "assistant", "content": "hi"}}], '
    b'"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}'
)
EXTRA = (
    b'{"invocation_params":{"_type":"chat","model":"gpt-4o","stop":null},"options":{"stop":null},"metadata":'
    b'{"thread_id":"th-1","ls_provider":"openai","ls_model_name":"gpt-4o-mini","ls_temperature":0.1,'
    b'"usage_metadata":{"input_tokens":100,"output_tokens":7,"total_tokens":107,"total_cost":0.003}},'
    b'"runtime":{"sdk":"langsmith-py"}}'
)


def tokens(usage: Usage | None) -> tuple[int | None, int | None, int | None] | None:
    return None if usage is None else (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def costs(usage: Usage | None) -> tuple[int | None, int | None, int | None] | None:
    return None if usage is None else (usage.prompt_cost, usage.completion_cost, usage.total_cost)


# Usage


@pytest.mark.parametrize(
    ("outputs", "counts"),
    [
        (LANGCHAIN_OUTPUTS, (11, 4, 15)),
        (LANGCHAIN_TOOL_CALL_OUTPUTS, (20, 9, 29)),
        (OPENAI_OUTPUTS, (19, 6, 25)),
        (OPENAI_RESPONSE_OUTPUTS, (19, 6, 25)),
        (OLD_OUTPUTS, (5, 2, 7)),
        (
            b'{"role":"assistant","content":"x","usage_metadata":{"input_tokens":12,"output_tokens":3}}',
            (12, 3, 15),
        ),
        (
            b'{"llm_output":{"token_usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":4}}}',
            (1, 2, 4),
        ),
        (b'{"llmOutput":{"tokenUsage":{"promptTokens":1,"completionTokens":2,"totalTokens":3}}}', (1, 2, 3)),
        (b'{"usage":{"prompt_tokens":8,"total_tokens":8}}', (8, None, 8)),
        (b'{"usage":{"prompt_tokens":8}}', (8, None, 8)),
    ],
)
def test_usage_is_found_where_sdks_put_it(outputs: bytes, counts: tuple[int, int, int]) -> None:
    assert tokens(usage_of_outputs(outputs)) == counts


def test_a_usage_that_sdks_copied_to_metadata_is_read() -> None:
    raw = b'{"input_tokens":19,"output_tokens":6,"total_tokens":25,"input_token_details":{"cache_read":8}}'
    assert usage_of_metadata(raw) == Usage(19, 6, 25, None, None, None)


@pytest.mark.parametrize("value", [b"NaN", b"nonsense"])
def test_a_usage_is_read_beside_what_is_no_json(value: bytes) -> None:
    assert usage_of_metadata(b'{"input_tokens":1,"x":%s}' % value) == Usage(1, None, 1, None, None, None)


def test_usage_of_several_generations_is_summed() -> None:
    prompts = [
        [
            {"message": {"usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_cost": "0.5"}}},
            {"message": {"usage_metadata": {"input_tokens": 10, "total_tokens": 10}}},
        ],
        [{"text": "no message"}],
        [{"message": {"usage_metadata": None}}],
    ]
    outputs = json.dumps({"generations": prompts}).encode()
    assert usage_of_outputs(outputs) == Usage(11, 2, 13, None, None, 500_000_000_000)


def test_the_first_place_that_names_a_number_wins() -> None:
    said, silent = (
        b'"usage":{"prompt_tokens":1}',
        b'"llm_output":{"token_usage":{}},"generations":[[{"message":null}]]',
    )
    assert tokens(usage_of_outputs(b'{"usage_metadata":null,%s,%s}' % (silent, said))) == (1, None, 1)
    assert tokens(usage_of_outputs(b'{"usage_metadata":{"input_tokens":-1},%s}' % said)) == (1, None, 1)
    assert tokens(usage_of_outputs(b'{"usage_metadata":{"input_tokens":9},%s}' % said)) == (9, None, 9)


@pytest.mark.parametrize(
    "count", ["-1", "1.0", "1e3", "true", "null", '"12"', "[1]", "NaN", str(2**62), str(2**70), "9" * 5_000]
)
def test_only_whole_numbers_are_token_counts(count: str) -> None:
    raw = b'{"usage":{"prompt_tokens":%s,"completion_tokens":2}}' % count.encode()
    assert tokens(usage_of_outputs(raw)) == (None, 2, 2)


def test_counts_up_to_the_limit_are_kept_and_their_sum_is_not() -> None:
    largest = NUMBER_LIMIT - 1
    raw = b'{"input_tokens":%d,"output_tokens":%d}' % (largest, largest)
    assert tokens(usage_of_metadata(raw)) == (largest, largest, None)


@pytest.mark.parametrize(
    ("cost", "picodollars"),
    [
        ("0.003", 3_000_000_000),
        ('"0.003"', 3_000_000_000),
        ("3e-3", 3_000_000_000),
        ("1.5E-05", 15_000_000),
        ("0", 0),
        ("0e999", 0),
        ("2", 2_000_000_000_000),
        ("-0.5", -500_000_000_000),
        ("0.0000000000005", 0),
        ("0.0000000000015", 2),
        ("0.0000000000005" + "0" * 50 + "1", 1),
        ("1e-999", 0),
        ("0.1" + "0" * 60 + "1", 100_000_000_000),
        ("4611686.018427387903", NUMBER_LIMIT - 1),
        ("4611686.018427387904", None),
        ("-4611686.018427387904", None),
        ("1e999", None),
        ("1e99999999999", None),
        ('"1e99999999999"', None),
        ('"Infinity"', None),
        ('"nan"', None),
        ('"1_000"', None),
        ('"$1"', None),
        ('""', None),
        ("true", None),
        ("[1]", None),
    ],
)
def test_costs_are_exact_picodollars(cost: str, picodollars: int | None) -> None:
    raw = b'{"input_tokens":1,"total_cost":%s}' % cost.encode()
    assert costs(usage_of_metadata(raw)) == (None, None, picodollars)


def test_a_missing_total_cost_is_the_sum_of_its_parts() -> None:
    assert costs(usage_of_metadata(b'{"input_cost":0.1,"output_cost":0.2}')) == (
        10**11,
        2 * 10**11,
        3 * 10**11,
    )


@pytest.mark.parametrize(
    "outputs",
    [
        b"{}",
        b"null",
        b"[]",
        b'"usage"',
        b'{"usage":null}',
        b'{"usage":[]}',
        b'{"usage":{}}',
        b'{"usage":3}',
        b'{"usage_metadata":"usage"}',
        b'{"generations":"usage"}',
        b'{"generations":[{"message":"usage"}]}',
        b'{"answer":"usage"}',
        LANGGRAPH_STATE,
    ],
)
def test_outputs_that_name_no_number_have_no_usage(outputs: bytes) -> None:
    assert usage_of_outputs(outputs) is None


def test_usage_is_found_beside_what_strict_parsers_refuse() -> None:
    usage = b'"usage_metadata":{"input_tokens":1}'
    assert tokens(usage_of_outputs(b'{"x":NaN,"y":"\\ud800","z":"\xff",%s}' % usage)) == (1, None, 1)
    deep = b"[" * 100_000 + b"]" * 100_000
    assert tokens(usage_of_outputs(b'{"deep":%s,%s}' % (deep, usage))) == (1, None, 1)


# Models and extra


@pytest.mark.parametrize(
    ("outputs", "model"),
    [
        (LANGCHAIN_OUTPUTS, "fake-gpt"),
        (OPENAI_OUTPUTS, "gpt-4o-mini-2024-07-18"),
        (b'{"generations":[[{"message":{"response_metadata":{"model":"llama"}}}]],"model":"outer"}', "llama"),
        (b'{"generations":[[{"message":null}]],"llm_output":{"model_name":"davinci"}}', "davinci"),
        (b'{"generations":[[{"message":{"response_metadata":null}}]],"model":"outer"}', "outer"),
        (b'{"model":null,"model_name":"gpt"}', "gpt"),
        (b'{"model":{"name":"gpt"}}', None),
        (b'{"model":""}', None),
        (b'{"output":"model"}', None),
        (b'["model"]', None),
    ],
)
def test_the_model_is_found_where_sdks_put_it(outputs: bytes, model: str | None) -> None:
    assert model_of_outputs(outputs) == model


def test_extra_gives_thread_model_provider_and_usage() -> None:
    facts = extra_facts(EXTRA)
    assert facts.usage_metadata is not None
    assert costs(usage_of_metadata(facts.usage_metadata)) == (None, None, 3 * 10**9)
    assert (facts.session_id, facts.conversation_id, facts.thread_id) == (None, None, "th-1")
    assert (facts.ls_provider, facts.ls_model_name, facts.invocation_model) == (
        "openai",
        "gpt-4o-mini",
        "gpt-4o",
    )


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ('"th-1"', "th-1"),
        ("7", "7"),
        (str(2**70), str(2**70)),
        ("-1.50", "-1.50"),
        ('"a\\u0000b"', "ab"),
        ('"\\ud800"', "\ufffd"),
        ('"' + "é" * 1_000 + '"', "é" * TEXT_CHARS_MAX),
        ('""', None),
        ('"\\u0000"', None),
        ("null", None),
        ("true", None),
        ("[1]", None),
        ("{}", None),
        ("NaN", None),
    ],
)
@pytest.mark.parametrize("name", ["session_id", "conversation_id", "thread_id"])
def test_a_thread_is_named_by_a_string_or_a_number(name: str, value: str, key: str | None) -> None:
    facts = extra_facts(b'{"metadata":{"%s":%s}}' % (name.encode(), value.encode()))
    assert getattr(facts, name) == key


@pytest.mark.parametrize("extra", [b"", b"null", b"[]", b"{}", b'{"metadata":null}', b'{"metadata":[1]}', b"\xff"])
def test_extra_that_says_nothing_gives_no_facts(extra: bytes) -> None:
    assert extra_facts(extra) == ExtraFacts()


# Time of the first token


def test_the_first_new_token_is_the_first_token() -> None:
    events = (
        b'[{"name":"start","time":"2026-11-23T01:37:59.786812+00:00"},'
        b'{"name":"new_token","time":"2026-11-23T01:37:59.787132+00:00"},'
        b'{"name":"new_token","time":"2026-11-23T01:37:59.787744+00:00"}]'
    )
    moment = datetime(2026, 11, 23, 1, 37, 59, 787132, tzinfo=UTC)
    assert first_token_time(events) == round(moment.timestamp() * 1_000_000)


def test_a_time_may_be_epoch_milliseconds() -> None:
    assert first_token_time(b'[{"name":"new_token","time":1700000000123}]') == 1_700_000_000_123_000


@pytest.mark.parametrize(
    "events",
    [
        b"[]",
        b"null",
        b'{"name":"new_token","time":1}',
        b'["new_token"]',
        b'[{"name":"new_token"}]',
        b'[{"name":"new_token","time":null}]',
        b'[{"name":"new_token","time":"soon"}]',
        b'[{"name":"end","time":1,"message":"new_token"}]',
    ],
)
def test_events_without_a_timed_new_token_have_no_first_token_time(events: bytes) -> None:
    assert first_token_time(events) is None


def test_an_event_that_is_no_event_does_not_hide_the_next() -> None:
    assert first_token_time(b'[3,null,{"name":"new_token","time":NaN},{"name":"new_token","time":5}]') == 5_000


# Previews


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (LANGCHAIN_INPUTS, "meaning?"),
        (LANGCHAIN_OUTPUTS, "hello"),
        (LANGCHAIN_TOOL_CALL_OUTPUTS, 'multiply({"a":6,"b":7})'),
        (LANGGRAPH_STATE, "go"),
        (OPENAI_INPUTS, "hi \N{EN DASH} ü"),
        (OPENAI_OUTPUTS, "Hello there!"),
        (OPENAI_TOOL_CALL_OUTPUTS, 'get_weather({"city": "Oslo"})'),
        (OPENAI_RESPONSE_OUTPUTS, "Hello there!"),
        (OLD_OUTPUTS, "hi"),
        (b'{"input":"hi","model":"gpt-4o-mini"}', "hi"),
        (b'{"choices":[{"text":"completed","index":0}]}', "completed"),
        (b'{"messages":["plain"]}', "plain"),
        (b'{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}', "a"),
        (b'{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":""}]}', "q"),
        (b'{"messages":[{"role":"system","content":"rules"}]}', "rules"),
        (b'{"role":"assistant","content":"Hello"}', "Hello"),
        (b'{"output":{"content":"result","type":"tool","tool_call_id":"1"}}', "result"),
    ],
)
def test_the_preview_of_a_chat_is_what_was_asked_or_answered(raw: bytes, text: str) -> None:
    assert preview(raw) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"null", ""),
        (b" null ", ""),
        (b'"text"', "text"),
        (b"3", "3"),
        (b"{}", "{}"),
        (b'{"input":"what?"}', "what?"),
        (b'{"input":""}', ""),
        (b'{"input":1}', '{"input":1}'),
        (b'{"output":null}', '{"output":null}'),
        (b'{ "a" : [ 1 , "b c" ] ,\n "k": 3 }', '{"a":[1,"b c"],"k":3}'),
        (b'{"args":[1,"two",{"three":3}]}', '{"args":[1,"two",{"three":3}]}'),
        (
            b'{"docs":[{"page_content":"x","type":"Document"}]}',
            '{"docs":[{"page_content":"x","type":"Document"}]}',
        ),
        (b'{"a":"\\u00fc\\ud83d\\ude42","k":1}', '{"a":"ü🙂","k":1}'),
        (b'{"a":"\\u0000\\u0022\\\\u00fc","k":1}', '{"a":"\\u0000\\u0022\\\\u00fc","k":1}'),
        (b'{"a":"line\\nline","k":1}', '{"a":"line\\nline","k":1}'),
        (b'{"a":"one\\n\\ttwo \\u0007 three"}', "one two three"),
        (b'{"a":"x\\u202ey"}', "xy"),
        (b'{"a":"\\ud800 x"}', "\ufffd x"),
        (b'{"a":NaN}', '{"a":NaN}'),
        (b"[unable to serialize]", "[unabletoserialize]"),
        (b"\xff\x00", "\ufffd"),
    ],
)
def test_the_preview_of_anything_else_is_its_string_or_compact_json(raw: bytes, text: str) -> None:
    assert preview(raw) == text


def test_a_long_preview_is_cut_with_an_ellipsis() -> None:
    assert preview(b'{"a":"%s"}' % (b"x" * 300), 10) == "x" * 9 + "…"
    assert preview(b'{"a":"%s"}' % (b"x" * 10), 10) == "x" * 10
    assert preview(b'{"a":%s}' % (b"1" * 300), 10) == '{"a":1111…'
    assert preview(b'{"a":"long"}', 1) == "…"
    assert preview(b'{"a":"long"}', 0) == ""


def test_a_field_too_large_to_look_into_shows_its_beginning() -> None:
    raw = b'{"messages":[{"role":"user","content":"%s"}]}'
    assert preview(raw % (b"x" * 100)) == "x" * 100
    assert preview(raw % (b"x" * PREVIEW_BYTES_MAX), 30) == '{"messages":[{"role":"user","…'


# Any bytes at all

NAMES = [
    "messages",
    "generations",
    "message",
    "kwargs",
    "lc",
    "content",
    "role",
    "type",
    "choices",
    "output",
    "usage",
    "usage_metadata",
    "input_tokens",
    "total_cost",
    "llm_output",
    "token_usage",
    "tool_calls",
    "model",
    "response_metadata",
    "metadata",
    "thread_id",
    "invocation_params",
    "name",
    "time",
    "args",
    "text",
    "function",
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("x\ud800\x00")
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)
fields = values.map(lambda value: json.dumps(value).encode())


@st.composite
def broken_fields(draw: st.DrawFn) -> bytes:
    raw = draw(fields)
    at = draw(st.integers(0, len(raw)))
    return raw[:at] + draw(st.binary(max_size=3)) + raw[at:]


any_bytes = fields | broken_fields() | st.binary()
READERS: list[Callable[[bytes], object]] = [
    usage_of_metadata,
    usage_of_outputs,
    model_of_outputs,
    extra_facts,
    first_token_time,
]


@given(any_bytes)
def test_any_bytes_are_read_without_an_error_and_always_alike(raw: bytes) -> None:
    for read in READERS:
        for field in (raw, b'{"usage_metadata":%s}' % raw, b'{"metadata":%s}' % raw, b"[%s]" % raw):
            assert read(field) == read(field)


@given(any_bytes, st.integers(0, 60))
def test_a_preview_is_short_and_fit_for_any_column(raw: bytes, chars_max: int) -> None:
    text = preview(raw, chars_max)
    assert len(text) <= chars_max
    assert text == " ".join(text.split())
    assert text.encode().decode() == text
    assert not any(character < " " or "\x7f" <= character < "\xa0" for character in text)


@pytest.mark.parametrize("opener", [b"[", b'{"messages":', b'{"message":{"kwargs":', b'[{"generations":'])
def test_deep_nesting_is_no_error(opener: bytes) -> None:
    raw = b'{"usage":1,"model":2,"new_token":3,"x":' + opener * 20_000
    for read in READERS:
        read(raw)
        read(opener * 20_000)
    assert preview(raw[:PREVIEW_BYTES_MAX]).endswith("…")

"""What a write says, read in one go or field by field."""

from hypothesis import given
from hypothesis import strategies as st

from events.codec import Codec
from events.kinds import RunPatched, RunPosted
from events.log import NewEvent
from projections import words
from projections.extraction import Usage
from projections.words import Words, read, read_oddly, words_in, words_of
from service.ingest.items import POST, Item
from tests.projections.histories import Write, writes
from tests.projections.stores import patched, posted

anything = writes(st.just(1), odd=True)


def event_of(write: Write) -> tuple[NewEvent, RunPosted | RunPatched]:
    new = write.items[0]
    assert isinstance(new, NewEvent)
    assert isinstance(new.body, (RunPosted, RunPatched))
    return new, new.body


@given(anything)
def test_reading_in_one_go_says_the_same_as_reading_field_by_field(write: Write) -> None:
    _, body = event_of(write)
    rank = words.POST if write.operation == POST else words.PATCH
    assert read(body) == read_oddly(body.fields, rank)


@given(anything)
def test_words_read_beforehand_are_those_that_are_read_from_the_log(write: Write) -> None:
    new, body = event_of(write)
    is_offloaded = bool(new.codec & Codec.OFFLOADED)
    assert words_of(type(body)(body.run_id, new.payload, is_offloaded)) == body.words


def told(item: Item) -> Words:
    """What an item says, read from its payload alone."""
    assert isinstance(item, NewEvent)
    assert isinstance(item.body, (RunPosted, RunPatched))
    written = words.usual(item.payload)
    assert written is not None
    return words_in(written, words.POST if isinstance(item.body, RunPosted) else words.PATCH)


def test_usual_writes_are_read_in_one_go() -> None:
    post = told(posted(1, tags=["a"], outputs={}, extra={"metadata": {"thread_id": "t"}}, parent_run_id=None))
    assert (post.name, post.tags, post.rank, post.empty) == ("a run", '["a"]', words.POST, words.OUTPUTS)
    assert post.facts is not None
    assert post.facts.thread_id == "t"
    patch = told(patched(1, outputs={"usage_metadata": {"input_tokens": 3}}, tags=[], error=""))
    assert (patch.tags, patch.error, patch.rank, patch.empty) == ("", "", words.PATCH, words.TAGS)
    assert patch.outputs is not None
    assert patch.outputs.usage == Usage(3, None, 3, None, None, None)

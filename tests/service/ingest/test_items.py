"""Feedback and the event it becomes."""

import orjson

from events.ids import parse_id
from events.kinds import FeedbackPosted
from events.log import NewEvent
from service.ingest.items import feedback_posted
from tests.service.apps import new_id


def test_feedback_takes_the_id_of_its_part_then_its_own_then_one_made_of_its_bytes() -> None:
    own, part = new_id(), parse_id(new_id())
    raw = orjson.dumps({"id": own, "key": "k"})
    ids = []
    for item in (
        feedback_posted(raw, source="x", feedback_id=part),
        feedback_posted(raw, source="x"),
        feedback_posted(b'{"key":"k"}', source="x"),
        feedback_posted(b'{"key":"k"}', source="x"),
    ):
        assert isinstance(item, NewEvent)
        assert isinstance(item.body, FeedbackPosted)
        ids.append(item.body.feedback_id)
    assert ids[:2] == [part, parse_id(own)]
    assert ids[2] == ids[3] not in ids[:2]

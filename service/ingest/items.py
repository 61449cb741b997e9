"""What a request brings, item by item: the events of feedback and projects, and why others became none.

An item is one run write (`service.ingest.run_items`), one feedback or one attachment. Of every item becomes either a
sealed event or, when no event can be made of it, a `Refused` with its bytes and the reason: one bad item never costs
its neighbours. A bad field does not refuse its item: the log keeps the bytes, and readers do what they can with them.
"""

import hashlib
import uuid
from typing import Final

from events.jsontext import NotJSON, split_object
from events.kinds import (
    FeedbackDeleted,
    FeedbackPatched,
    FeedbackPosted,
    Operation,
    ProjectCreated,
    feedback_stream,
    project_payload,
    project_stream,
)
from events.log import NewEvent, Refused, seal
from projections.words import NAME_CHARS_MAX, column_text, project_id_of, read_id

Item = NewEvent | Refused

POST: Final[Operation] = "post"
PATCH: Final[Operation] = "patch"

_FEEDBACK_IDS: Final = uuid.UUID("0f4f5d0e-53c0-5a4c-9a4e-0a8f3f6f7d55")


class UnusableItem(Exception):
    """The one item of a request cannot become an event. It is kept in quarantine."""


class UnusableBody(Exception):
    """A body of which no item can be told. It is kept in quarantine."""


def feedback_posted(raw: bytes, *, source: str, feedback_id: bytes | None = None) -> Item:
    """The event of new feedback. One without an id gets one that follows from its bytes, so that a retry is known."""
    try:
        members = split_object(raw)
    except NotJSON as error:
        return Refused(source, f"{source} is not a JSON object: {error}", raw)
    if members.get("key", b"null") == b"null":
        return Refused(source, f"{source}: feedback needs a key", raw)
    id_ = feedback_id or read_id(members.get("id", b"")) or _minted_feedback_id(raw)
    return seal("FeedbackPosted", feedback_stream(id_), raw, FeedbackPosted(id_, members))


def new_id() -> bytes:
    """An id that nobody else has."""
    return uuid.uuid4().bytes


def _minted_feedback_id(raw: bytes) -> bytes:
    return uuid.uuid5(_FEEDBACK_IDS, hashlib.sha256(raw).hexdigest()).bytes


def feedback_patched(feedback_id: bytes, raw: bytes, *, source: str) -> Item:
    """The event of a change of feedback, known or not."""
    try:
        members = split_object(raw)
    except NotJSON as error:
        return Refused(source, f"{source} is not a JSON object: {error}", raw)
    return seal("FeedbackPatched", feedback_stream(feedback_id), raw, FeedbackPatched(feedback_id, members))


def feedback_deleted(feedback_id: bytes) -> Item:
    """The event that deletes feedback."""
    return seal("FeedbackDeleted", feedback_stream(feedback_id), b"{}", FeedbackDeleted(feedback_id))


def project_created(name: str) -> Item:
    """The event that creates a project by name."""
    name = column_text(name, NAME_CHARS_MAX)  # As runs that name it find it.
    id_ = project_id_of(name)
    return seal("ProjectCreated", project_stream(id_), project_payload(name), ProjectCreated(id_, name))

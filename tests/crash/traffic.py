"""The requests of a campaign. Each has a number, and the same seed and number make the same bytes anywhere."""

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

import orjson

from tests.benchmarks.traffic import (
    SHAPES,
    Body,
    Document,
    Item,
    Operation,
    Run,
    Shape,
    encode,
    make_runs,
    multipart_body,
    run_parts,
)

_RUNS_MAX: Final = 20
_KINDS: Final = {"post": "RunPosted", "patch": "RunPatched"}


class Fact(NamedTuple):
    """What one item must leave in the log: an event of this kind, in this stream, saying this."""

    kind: str
    stream: bytes
    says: bytes


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a request attaches to a run."""

    run_id: str
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Planned:
    """A request: what it brings, and the bytes that bring it. `refused` items are good for quarantine only."""

    number: int
    items: Sequence[Item]
    attachments: Sequence[Attachment]
    feedback: Sequence[Document]
    refused: int
    body: Body

    def facts(self) -> list[Fact]:
        """What must be in the log when it was acknowledged."""
        return [
            *(
                Fact(_KINDS[item.operation], b"r" + _raw(item.document["id"]), said(item.document))
                for item in self.items
            ),
            *(
                Fact("AttachmentStored", b"r" + _raw(each.run_id), attached(each.name, each.data))
                for each in self.attachments
            ),
            *(Fact("FeedbackPosted", b"f" + _raw(each["id"]), said(each)) for each in self.feedback),
        ]


def said(document: Any) -> bytes:
    """JSON with the same bytes for the same value."""
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)


def attached(name: str, data: bytes) -> bytes:
    """What an attachment says: its name and the hash of its bytes."""
    return said([name, sha256(data).hexdigest()])


def planned(seed: int, number: int) -> Planned:
    """The request of this number. An even one posts some runs, and the odd one after it patches them."""
    source = random.Random(f"{seed}/{number // 2}")
    runs = list(make_runs(source.randint(1, _RUNS_MAX), seed=source.getrandbits(64)))
    operation: Operation = "patch" if number % 2 else "post"
    source = random.Random(f"{seed}/{number}/{operation}")
    shape = source.choice(SHAPES)
    items = [Item(operation, _told(run, operation)) for run in runs]
    extras = shape == "multipart" and source.random() < 0.5
    attachments = [Attachment(runs[0].id, f"log-{number}", source.randbytes(200))] if extras else []
    feedback = [_feedback(source, runs[-1])] if extras else []
    refused = int(source.random() < 0.2)
    return Planned(number, items, attachments, feedback, refused, _body(items, attachments, feedback, refused, shape))


def _told(run: Run, operation: Operation) -> Document:
    """What a client says of the run; fields without a value are not sent in parts, so never here."""
    document = run.post if operation == "post" else run.patch
    return {name: value for name, value in document.items() if value is not None}


def _feedback(source: random.Random, run: Run) -> Document:
    id_ = str(uuid.UUID(int=source.getrandbits(128), version=4))
    return {"id": id_, "run_id": run.id, "key": "helpful", "score": source.randrange(5), "comment": "as it came"}


def _body(
    items: Sequence[Item],
    attachments: Sequence[Attachment],
    feedback: Sequence[Document],
    refused: int,
    shape: Shape,
) -> Body:
    bad = [Item("post", {"id": items[0].document["id"], "inputs": {"n": n}}) for n in range(refused)]
    if not attachments:
        return encode([*items, *bad], shape)
    parts: list[tuple[str, str, bytes]] = [part for item in items for part in run_parts(item)]
    parts += [(f"attachment.{each.run_id}.{each.name}", "application/octet-stream", each.data) for each in attachments]
    parts += [(f"feedback.{each['id']}", "application/json", orjson.dumps(each)) for each in feedback]
    parts += [part for item in bad for part in run_parts(item)]
    return multipart_body(parts)


def _raw(id_text: str) -> bytes:
    return uuid.UUID(id_text).bytes

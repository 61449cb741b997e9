"""Filters with something cut out, put in or doubled."""

import random
from typing import Final

VALID: Final = (
    'and(eq(run_type, "chain"), gt(latency, 10), gt(total_tokens, 5000))',
    'and(gt(start_time, "2023-07-15"), or(neq(error, null), and(eq(feedback_key, "C"), eq(feedback_score, 0))))',
    'and(in(metadata_key, ["session_id","conversation_id","thread_id"]), eq(metadata_value, "T"))',
    "and(eq(metadata_key, 'k'), neq(metadata_value, 'v'))",
    'or(has(tags, "a"), like(name, "%Plan_ing%"), search(inputs, "q"), has(metadata, \'{"k": "v"}\'))',
    'not(in(total_cost, [1, 2.5, 1e400, -0, "3"]))',
    'and(gt(name, "\\u0000"), lt(error, "x"), eq(parent_run_id, null), gte(feedback_value, 7))',
)
PIECES: Final = (
    *"()[],\"'\\ \0é😀",
    "null",
    "1e999",
    "9" * 39,
    "eq(",
    "not(",
    "name",
    "tags",
    "latency",
    "feedback_score",
    "{}",
)


def garbled(chance: random.Random, count: int) -> list[str]:
    """Filters, most of them with something cut out, put in or doubled."""
    made = list(VALID)
    while len(made) < count:
        text = chance.choice(VALID)
        for _ in range(chance.randrange(4)):
            one, other = sorted(chance.randrange(len(text) + 1) for _ in range(2))
            part = chance.choice(("", chance.choice(PIECES), text[one:other] * 2, chance.choice(VALID)))
            text = text[:one] + part + text[other:] if chance.random() < 0.5 else text[:one] + part + text[one:]
        made.append(text)
    return made

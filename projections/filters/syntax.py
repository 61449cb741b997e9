"""The text of a filter to a tree of calls, names and literals. Bounded in length and depth; knows no field."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

CHARS_MAX: Final = 32_768
DEPTH_MAX: Final = 40
# SQLite takes expressions of a thousand levels, and a chain of ands counts one for each.
CALLS_MAX: Final = 300
_SHOWN_CHARS: Final = 30


class InvalidFilter(ValueError):
    """A filter that cannot be read: where in its text, and what was expected there; `name` says which filter."""

    def __init__(self, text: str, position: int, expected: str, name: str = "filter") -> None:
        self.text = text
        self.position = position
        self.expected = expected
        found = text[position : position + _SHOWN_CHARS]
        shown = f"{found!r}{' …' if len(text) > position + _SHOWN_CHARS else ''}" if found else "the end"
        super().__init__(f"{name} cannot be read: expected {expected} at character {position + 1}, found {shown}")


@dataclass(frozen=True, slots=True)
class Name:
    """A bare word: the name of a field."""

    text: str
    at: int


@dataclass(frozen=True, slots=True)
class Literal:
    """A value: text, a number with all its digits, a truth, null, or a list of such."""

    value: "str | Decimal | bool | tuple[Literal, ...] | None"
    at: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function and what it is given."""

    function: str
    arguments: "tuple[Argument, ...]"
    at: int


Argument = Call | Name | Literal

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
      | (?P<number>[+-]?\d{1,40}(?:\.\d{0,40})?(?:[eE][+-]?\d{1,3})?(?![\w.]))
      | (?P<word>[A-Za-z_]\w{0,99}(?!\w))
      | (?P<mark>[(),\[\]])
      | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED: Final = {"n": "\n", "r": "\r", "t": "\t"}
_CONSTANTS: Final = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def parse(text: str) -> Call:
    """The call that a filter's text is. Raises `InvalidFilter`."""
    if len(text) > CHARS_MAX:
        raise InvalidFilter(text, CHARS_MAX, f"the end, after at most {CHARS_MAX} characters")
    parser = _Parser(text)
    call = parser.argument(depth=1)
    if not isinstance(call, Call):
        raise InvalidFilter(text, call.at, 'a condition such as eq(name, "agent")')
    parser.take("end", expected="the end")
    return call


class _Parser:
    """Goes through the tokens of a text once, looking one ahead."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._next = next(self._tokens)
        self._calls = 0

    def argument(self, depth: int) -> Argument:
        token = self._next
        if depth > DEPTH_MAX:
            raise InvalidFilter(self._text, token.at, f"at most {DEPTH_MAX} levels of brackets")
        if token.kind == "word" and token.text.lower() not in _CONSTANTS:
            self._advance()
            return self._call(token, depth) if self._next.text == "(" else Name(token.text, token.at)
        return self._literal(depth)

    def take(self, *wanted: str, expected: str) -> _Token:
        """The next token, which must be of a wanted kind or read so."""
        token = self._next
        if token.kind not in wanted and token.text not in wanted:
            raise InvalidFilter(self._text, token.at, expected)
        if token.kind != "end":
            self._advance()
        return token

    def _call(self, function: _Token, depth: int) -> Call:
        self._calls += 1
        if self._calls > CALLS_MAX:
            raise InvalidFilter(self._text, function.at, f"at most {CALLS_MAX} conditions")
        self._advance()
        arguments: list[Argument] = []
        while self._next.text != ")":
            arguments.append(self.argument(depth + 1))
            if self._next.text != ")":
                self.take(",", expected='"," or ")"')
        self._advance()
        return Call(function.text, tuple(arguments), function.at)

    def _literal(self, depth: int) -> Literal:
        if depth > DEPTH_MAX:
            raise InvalidFilter(self._text, self._next.at, f"at most {DEPTH_MAX} levels of brackets")
        token = self.take("string", "number", "word", "[", expected="a field, a value or a condition")
        if token.text == "[" and token.kind == "mark":
            return Literal(tuple(self._elements(depth)), token.at)
        if token.kind == "string":
            return Literal(_unquoted(token.text), token.at)
        if token.kind == "number":
            return Literal(Decimal(token.text), token.at)
        if token.text.lower() in _CONSTANTS:
            return Literal(_CONSTANTS[token.text.lower()], token.at)
        raise InvalidFilter(self._text, token.at, "a value: text in quotation marks, a number, true, false or null")

    def _elements(self, depth: int) -> Iterator[Literal]:
        while self._next.text != "]":
            yield self._literal(depth + 1)
            if self._next.text != "]":
                self.take(",", expected='"," or "]"')
        self._advance()

    def _advance(self) -> None:
        self._next = next(self._tokens)


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while True:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise InvalidFilter(
                text, _after_space(text, position), "a word, a number, text in quotation marks or one of , ( ) [ ]"
            )
        yield _Token(match.lastgroup, match[match.lastgroup], match.start(match.lastgroup))
        position = match.end()


def _after_space(text: str, position: int) -> int:
    return len(text) - len(text[position:].lstrip())


def _unquoted(quoted: str) -> str:
    """The text in quotation marks; always one that encodes to UTF-8."""
    text = _ESCAPE.sub(_character, quoted[1:-1]) if "\\" in quoted else quoted[1:-1]
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)

import gzip
import re
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from service.ingest.multipart import MalformedMultipart, Multipart, Part, boundary_of, split

RECORDINGS = Path(__file__).parents[2] / "recordings"


def encode(parts: list[Part], boundary: bytes, line_break: bytes = b"\r\n") -> bytes:
    """A body as SDKs write it."""
    lines = []
    for part in parts:
        lines += [
            b"--" + boundary,
            f'Content-Disposition: form-data; name="{part.name}"'.encode(),
            f"Content-Type: {part.content_type}; length={len(part.data)}".encode(),
            b"",
            part.data,
        ]
    return line_break.join([*lines, b"--" + boundary + b"--", b""])


def only_part(headers: bytes, data: bytes = b"data") -> Part:
    body = b"--b\r\n" + headers + b"\r\n\r\n" + data + b"\r\n--b--\r\n"
    [part] = split(body, b"b").parts
    return part


names = st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["Cc", "Cs"]), max_size=60)
content_types = st.sampled_from(["application/json", "image/png", "text/plain; charset=utf-8", "application/x-ndjson"])
parts = st.builds(Part, names, content_types, st.none(), st.binary() | st.text("-b\r\n ", max_size=12).map(str.encode))


@given(st.lists(parts), st.sampled_from([b"b", b"--b", b"----LangSmithFormBoundary1x", b"b b"]))
def test_what_is_put_together_comes_apart(parts: list[Part], boundary: bytes) -> None:
    assume(all(b"\r\n--" + boundary not in b"\r\n" + part.data for part in parts))
    assert split(encode(parts, boundary), boundary) == Multipart(parts, None)


@given(st.lists(parts, min_size=1), st.binary(max_size=5))
def test_lines_may_end_with_a_line_feed_alone(parts: list[Part], data: bytes) -> None:
    parts = [msgspec.structs.replace(part, data=part.data + data + b"\r") for part in parts]
    assume(all(b"\n--b" not in b"\n" + part.data for part in parts))
    assert split(encode(parts, b"b", b"\n"), b"b") == Multipart(parts, None)


@given(st.lists(parts, min_size=1, max_size=3), st.data())
def test_a_body_cut_anywhere_keeps_its_complete_parts(parts: list[Part], data: st.DataObject) -> None:
    assume(all(b"\r\n--boundary" not in b"\r\n" + part.data for part in parts))
    body = encode(parts, b"boundary")
    cut = body[: data.draw(st.integers(0, len(body) - len(b"--\r\n") - 1))]
    found = split(cut, b"boundary")
    assert found.parts == parts[: len(found.parts)]
    assert found.truncated is not None
    assert cut.endswith(found.truncated)
    assert len(cut) - len(found.truncated) <= len(encode(parts[: len(found.parts)], b"boundary"))


@given(st.binary() | st.text('-b\r\n :;="\\\tContent-Disposition:name', max_size=80).map(str.encode))
def test_any_body_can_be_split(body: bytes) -> None:
    found = split(b"--b\r\n" + body, b"b")
    assert all(part.data in body for part in found.parts)


def reference_split(body: bytes, boundary: bytes) -> list[tuple[str, bytes]]:
    """(headers, data) of each part, found in the simplest way that is right for what SDKs send."""
    chunks = (b"\r\n" + body).split(b"\r\n--" + boundary)
    assert (chunks[0], chunks[-1]) == (b"", b"--\r\n")
    heads_and_data = (chunk.removeprefix(b"\r\n").split(b"\r\n\r\n", 1) for chunk in chunks[1:-1])
    return [(head.decode(), data) for head, data in heads_and_data]


@pytest.mark.parametrize(
    ("recording", "boundary", "count"),
    [
        ("python-0.1.147-multipart.bin", b"9ac8ebcf2d17413a89f33ead9f3e4db7", 9),
        ("python-0.15.0-multipart.zst", b"40b0a27b3c9041bbaee978b2b4862b75", 47),
        ("js-0.12.0-attachments-multipart.gz", b"----LangSmithFormBoundary6drkec29s1k", 9),
    ],
)
def test_what_sdks_send_is_split(recording: str, boundary: bytes, count: int) -> None:
    body = (RECORDINGS / recording).read_bytes()
    if recording.endswith(".zst"):
        body = zstandard.ZstdDecompressor().decompressobj().decompress(body)
    elif recording.endswith(".gz"):
        body = gzip.decompress(body)
    found = split(body, boundary)
    assert found.truncated is None
    assert len(found.parts) == count
    for part, (head, data) in zip(found.parts, reference_split(body, boundary), strict=True):
        name = re.search(r'name="(.*?)"', head)
        content_type = re.search(r"Content-Type: (.*?)(; length=\d+)?(\r\n|$)", head)
        assert name is not None
        assert content_type is not None
        assert part == Part(name[1], content_type[1], None, data)


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data; boundary=a1b",
        'multipart/form-data; boundary="a1b"',
        "Multipart/Form-Data;charset=utf-8 ; BOUNDARY=a1b; x=y",
        'multipart/form-data; x="; boundary=no"; boundary="a\\1b"'.replace("\\1", "1"),
    ],
)
def test_the_boundary_is_found_in_the_content_type(content_type: str) -> None:
    assert boundary_of(content_type) == b"a1b"


def test_a_quoted_boundary_may_hold_spaces_and_quotes() -> None:
    assert boundary_of('multipart/form-data; boundary="a \\"b\\""') == b'a "b"'


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "application/json",
        "application/json; boundary=a1b",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        'multipart/form-data; boundary=""',
        "multipart/form-data; boundary=日本",
    ],
)
def test_a_content_type_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(MalformedMultipart):
        boundary_of(content_type)


@pytest.mark.parametrize(
    ("headers", "name", "content_type", "filename"),
    [
        (b'Content-Disposition: form-data; name="post.1"; filename="blob"', "post.1", None, "blob"),
        (b'content-disposition:form-data;name="a"\r\nCONTENT-TYPE:text/csv;length=4', "a", "text/csv", None),
        (b"Content-Disposition: form-data; name=a", "a", None, None),
        (b'Content-Disposition: form-data; name="a \\"b\\" \\\\c"', 'a "b" \\c', None, None),
        (b'Content-Disposition: form-data;\r\n\tname="a"', "a", None, None),
        (b'Content-Disposition: form-data; name="a\xff"', "a\ufffd", None, None),
        ('Content-Disposition: form-data; name="é\u2028"'.encode(), "é\u2028", None, None),
        (b'Content-Length: 4\nContent-Disposition: form-data; name="a"', "a", None, None),
        (
            b'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; charset=utf-8; length=4',
            "a",
            "text/plain; charset=utf-8",
            None,
        ),
        (
            b'Content-Disposition: form-data; name="a"\r\nContent-Type: text/csv; length=4; header=present',
            "a",
            "text/csv; header=present",
            None,
        ),
        (b'Content-Disposition: form-data; name="a"\r\nContent-Type: x/\xff', "a", "x/\ufffd", None),
        (b"Content-Disposition: form-data", "", None, None),
        (b"Content-Type: application/json", "", "application/json", None),
        (b"no header", "", None, None),
    ],
)
def test_headers_may_be_unusual(headers: bytes, name: str, content_type: str | None, filename: str | None) -> None:
    assert only_part(headers) == Part(name, content_type, filename, b"data")


@pytest.mark.parametrize("length", [b"0", b"3", b"5", b"400", b"1" * 18, b"1" * 19])
@pytest.mark.parametrize("header", [b"application/json; length=%s", b"application/json\r\nContent-Length: %s"])
def test_a_length_that_is_not_true_is_not_believed(header: bytes, length: bytes) -> None:
    headers = b'Content-Disposition: form-data; name="a"\r\nContent-Type: ' + header % length
    assert only_part(headers) == Part("a", "application/json", None, b"data")


def test_a_part_that_says_how_long_it_is_may_hold_the_boundary() -> None:
    data = b"a\r\n--b\r\nb"
    headers = b'Content-Disposition: form-data; name="a"\r\nContent-Type: text/plain; length=%d' % len(data)
    following = b'--b\r\nContent-Disposition: form-data; name="b"\r\n\r\n1'
    body = b"--b\r\n" + headers + b"\r\n\r\n" + data + b"\r\n" + following + b"\r\n--b--\r\n"
    assert [(part.name, part.data) for part in split(body, b"b").parts] == [("a", data), ("b", b"1")]


def test_a_part_without_headers_has_no_name() -> None:
    assert split(b"--b\r\n\r\ndata\r\n--b--", b"b").parts == [Part("", None, None, b"data")]
    assert split(b"--b\r\nrubbish\r\n--b--", b"b").parts == [Part("", None, None, b"rubbish")]
    assert split(b"--b\r\n--b--", b"b").parts == [Part("", None, None, b"")]


def test_headers_without_end_have_no_name() -> None:
    endless = b"X: y\r\n" * 10_000 + b'Content-Disposition: form-data; name="a"'
    part = only_part(endless)
    assert part.name == ""
    assert part.data.startswith(b"X: y")


@pytest.mark.parametrize("data", [b"a--b", b"a--b--\r\n", b"\r\n--bc\r\n", b"a\r\n--b x", b"a\n--b\n", b"\r\n"])
def test_a_boundary_without_a_line_of_its_own_is_data(data: bytes) -> None:
    assert only_part(b'Content-Disposition: form-data; name="a"', data).data == data


def test_preamble_epilogue_and_padding_are_skipped() -> None:
    part = b'Content-Disposition: form-data; name="a"\r\n\r\n1'
    body = b"\r\nsay --b\r\n--bc\r\n--b \t\r\n" + part + b"\r\n--b-- \r\n--b\r\nmore"
    assert split(body, b"b") == Multipart([Part("a", None, None, b"1")], None)


def test_a_body_may_have_no_parts() -> None:
    assert split(b"--b--\r\n", b"b") == Multipart([], None)


@pytest.mark.parametrize(
    ("body", "truncated"),
    [
        (b"", b""),
        (b"no boundary", b"no boundary"),
        (b"--b", b""),
        (b"--b\r\n", b""),
        (b"--b\r\nContent-Disp", b"Content-Disp"),
        (b"--b\r\n\r\n1\r\n--", b"\r\n1\r\n--"),
    ],
)
def test_what_was_cut_off_is_kept(body: bytes, truncated: bytes) -> None:
    assert split(body, b"b") == Multipart([], truncated)


def test_a_body_that_ends_with_a_boundary_was_cut_off() -> None:
    assert split(b"--b\r\n\r\n1\r\n--b\r\n", b"b") == Multipart([Part("", None, None, b"1")], b"")

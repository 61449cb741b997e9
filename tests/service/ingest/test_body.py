import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from service.ingest.body import _OUTPUT_STEP_BYTES, BodyNotDecodable, BodyTooLarge, EncodingNotSupported, read_body

RECORDINGS = Path(__file__).parents[2] / "recordings"
MB = 1024 * 1024
MULTIPART = b"".join(b'--b\r\nContent-Disposition: form-data; name="post.%d"\r\n\r\n{}\r\n' % n for n in range(3000))


def zstd(data: bytes) -> bytes:
    """One frame without a content size, as SDKs stream it."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(data) + compressor.flush()


def bare_deflate(data: bytes) -> bytes:
    return zlib.compress(data, wbits=-zlib.MAX_WBITS)


def zstd_bomb(blocks: int) -> bytes:
    """blocks * 128 KB of zeros, in the fewest bytes that the format allows: four for a block."""
    magic, descriptor, window_of_2_mb = b"\x28\xb5\x2f\xfd", b"\x00", b"\x58"
    repeat_128_kb = 128 * 1024 << 3 | 1 << 1
    block = repeat_128_kb.to_bytes(3, "little") + b"\0"
    last = (repeat_128_kb | 1).to_bytes(3, "little") + b"\0"
    return magic + descriptor + window_of_2_mb + block * (blocks - 1) + last


ENCODERS: list[tuple[str | None, Callable[[bytes], bytes]]] = [
    (None, bytes),
    ("identity", bytes),
    ("zstd", zstd),
    ("zstd", zstandard.compress),
    ("gzip", gzip.compress),
    ("X-GZIP", gzip.compress),
    ("deflate", zlib.compress),
    ("deflate", bare_deflate),
    ("gzip, zstd", lambda data: zstd(gzip.compress(data))),
    (" Deflate ,identity,GZIP, zstd ", lambda data: zstd(gzip.compress(zlib.compress(data)))),
]
every_encoder = pytest.mark.parametrize(
    ("encoding", "encode"), ENCODERS, ids=[f"{n}-{encoding}" for n, (encoding, _) in enumerate(ENCODERS)]
)


async def in_chunks(data: bytes, size: int = MB) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@every_encoder
@pytest.mark.parametrize("chunk_bytes", [1, 7, 4096, MB])
async def test_a_body_reads_as_it_was(encoding: str | None, encode: Callable[[bytes], bytes], chunk_bytes: int) -> None:
    chunks = in_chunks(encode(MULTIPART), chunk_bytes)
    assert await read_body(chunks, encoding, bytes_max=len(MULTIPART)) == MULTIPART


@given(st.binary(), st.sampled_from(ENCODERS), st.integers(1, 100))
def test_any_bytes_read_as_they_were(
    data: bytes, encoder: tuple[str | None, Callable[[bytes], bytes]], chunk_bytes: int
) -> None:
    encoding, encode = encoder
    assert asyncio.run(read_body(in_chunks(encode(data), chunk_bytes), encoding, bytes_max=MB)) == data


@given(st.binary() | st.binary().map(lambda data: zstd(b"x")[:4] + data), st.sampled_from(ENCODERS))
def test_any_bytes_read_or_are_refused(data: bytes, encoder: tuple[str | None, Callable[[bytes], bytes]]) -> None:
    with suppress(BodyNotDecodable, BodyTooLarge):
        assert len(asyncio.run(read_body(in_chunks(data, 5), encoder[0], bytes_max=1000))) <= 1000


@pytest.mark.parametrize(
    ("recording", "encoding", "size"),
    [
        ("python-0.15.0-multipart.zst", "zstd", 19859),
        ("js-0.12.0-attachments-multipart.gz", "gzip", 2573),
        ("python-0.1.147-multipart.bin", None, 2994),
    ],
)
async def test_what_sdks_send_is_read(recording: str, encoding: str | None, size: int) -> None:
    body = await read_body(in_chunks((RECORDINGS / recording).read_bytes(), 100), encoding, bytes_max=MB)
    assert len(body) == size
    assert body.endswith(b"--\r\n")


@every_encoder
async def test_a_body_may_be_empty(encoding: str | None, encode: Callable[[bytes], bytes]) -> None:
    assert await read_body(in_chunks(b""), encoding, bytes_max=0) == b""


@pytest.mark.parametrize("chunk_bytes", [1, 100, MB])
async def test_frames_and_members_follow_one_another(chunk_bytes: int) -> None:
    skippable = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    frames = zstd(b"one ") + skippable + zstd(b"") + zstandard.compress(b"two")
    assert await read_body(in_chunks(frames, chunk_bytes), "zstd", bytes_max=MB) == b"one two"
    members = gzip.compress(b"one ") + bytes(20) + gzip.compress(b"") + gzip.compress(b"two") + bytes(3)
    assert await read_body(in_chunks(members, chunk_bytes), "gzip", bytes_max=MB) == b"one two"


async def test_output_that_waits_in_the_decompressor_is_read() -> None:
    # The end of a step can cut a repetition whose input has all been read; bare deflate has nothing after it.
    for size in range(_OUTPUT_STEP_BYTES, _OUTPUT_STEP_BYTES + 260):
        body = await read_body(in_chunks(bare_deflate(bytes(size))), "deflate", bytes_max=MB)
        assert len(body) == size


@every_encoder
@pytest.mark.parametrize("chunk_bytes", [100, MB])
async def test_a_body_beyond_the_bound_is_refused(
    encoding: str | None, encode: Callable[[bytes], bytes], chunk_bytes: int
) -> None:
    with pytest.raises(BodyTooLarge) as refusal:
        await read_body(in_chunks(encode(MULTIPART), chunk_bytes), encoding, bytes_max=len(MULTIPART) - 1)
    assert refusal.value.bytes_max == len(MULTIPART) - 1
    assert str(len(MULTIPART) - 1) in str(refusal.value)


async def test_a_body_beyond_the_bound_is_not_read_to_its_end() -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1000
            yield bytes(1000)

    with pytest.raises(BodyTooLarge):
        await read_body(endless(), None, bytes_max=10_000)
    assert read == 11_000


async def test_what_decompresses_to_nothing_is_bounded_too() -> None:
    with pytest.raises(BodyTooLarge):
        await read_body(in_chunks(zstd(b"") * 1000), "zstd", bytes_max=1000)
    with pytest.raises(BodyTooLarge):
        await read_body(in_chunks(zstd(gzip.compress(b"") * 1000)), "gzip, zstd", bytes_max=1000)


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("zstd", zstd_bomb(blocks=8000)),
        ("gzip", gzip.compress(bytes(100 * MB), compresslevel=1)),
        ("deflate", zlib.compress(bytes(100 * MB), level=1)),
    ],
)
async def test_a_bomb_does_not_expand_in_memory(encoding: str, bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [0]

    async def note(size: int) -> None:
        sizes.append(size)

    assert len(bomb) < MB
    with pytest.raises(BodyTooLarge):
        await read_body(in_chunks(bomb), encoding, bytes_max=16 * MB, on_growth=note)
    assert sizes[1] > 0
    assert sizes[-1] <= (16 + 4) * MB
    assert max(after - before for before, after in pairwise(sizes)) <= 5 * MB


@every_encoder
async def test_growth_is_told_before_it_happens(encoding: str | None, encode: Callable[[bytes], bytes]) -> None:
    sizes: list[int] = []

    async def note(size: int) -> None:
        sizes.append(size)

    await read_body(in_chunks(encode(MULTIPART), 1000), encoding, bytes_max=MB, on_growth=note)
    assert sizes == sorted(sizes)
    ahead = sizes[-1] - len(MULTIPART)
    # What each decoder may give at once comes on top, and what one keeps whose output is not the body.
    assert ahead == 0 if encode(MULTIPART) == MULTIPART else 0 < ahead <= (4 + 8 + 4) * MB
    assert sizes[0] >= ahead


async def test_whoever_is_told_of_growth_can_refuse_it() -> None:
    async def refuse(size: int) -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        await read_body(in_chunks(b"body"), None, bytes_max=MB, on_growth=refuse)


@pytest.mark.parametrize(("encoding", "named"), [("br", "br"), ("gzip, compress", "compress")])
async def test_an_unknown_encoding_is_refused_by_name(encoding: str, named: str) -> None:
    with pytest.raises(EncodingNotSupported) as refusal:
        await read_body(in_chunks(b""), encoding, bytes_max=MB)
    assert refusal.value.encoding == named
    assert {"zstd", "gzip", "deflate"} <= set(refusal.value.accepted)
    assert repr(named) in str(refusal.value)


async def test_too_many_encodings_are_refused() -> None:
    with pytest.raises(EncodingNotSupported):
        await read_body(in_chunks(b""), "gzip, gzip, gzip, gzip", bytes_max=MB)


@every_encoder
async def test_a_truncated_stream_is_refused(encoding: str | None, encode: Callable[[bytes], bytes]) -> None:
    if encode is bytes:
        return  # Nothing in an identity body says where it ends.
    encoded = encode(MULTIPART)
    for end in (1, 2, 5, len(encoded) // 2, len(encoded) - 1):
        with pytest.raises(BodyNotDecodable):
            await read_body(in_chunks(encoded[:end]), encoding, bytes_max=MB)


@pytest.mark.parametrize("encoding", ["zstd", "gzip", "deflate"])
async def test_what_is_not_compressed_is_refused(encoding: str) -> None:
    with pytest.raises(BodyNotDecodable) as refusal:
        await read_body(in_chunks(b'{"post":[]}'), encoding, bytes_max=MB)
    assert refusal.value.encoding == encoding
    assert refusal.value.reason in str(refusal.value)


@pytest.mark.parametrize("chunk_bytes", [1, MB])
@pytest.mark.parametrize(("encoding", "encode"), [("zstd", zstd), ("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_rubbish_after_the_end_is_refused(
    encoding: str, encode: Callable[[bytes], bytes], chunk_bytes: int
) -> None:
    with pytest.raises(BodyNotDecodable):
        await read_body(in_chunks(encode(b"body") + b"rubbish"), encoding, bytes_max=MB)
    with pytest.raises(BodyNotDecodable):
        await read_body(in_chunks(encode(b"body") + b"rubbish", chunk_bytes), encoding, bytes_max=MB)


async def test_a_frame_cannot_make_us_allocate_a_large_window() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=24)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = compressor.compress(b"body") + compressor.flush()
    with pytest.raises(BodyNotDecodable, match="memory"):
        await read_body(in_chunks(frame), "zstd", bytes_max=MB)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("zstd", zstd_bomb(blocks=2000)),
        ("gzip", gzip.compress(bytes(100 * MB), compresslevel=1)),
        ("gzip, zstd", zstd(gzip.compress(b"") * 100_000)),
        ("zstd", zstd(b"") * 100_000),
    ],
)
async def test_a_large_chunk_gives_others_their_turn(encoding: str, data: bytes) -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    await read_body(in_chunks(data, len(data)), encoding, bytes_max=300 * MB)
    task.cancel()
    # Each of these takes a tenth of a second at least, in which nobody else had a turn if it were not given.
    assert turns >= 10

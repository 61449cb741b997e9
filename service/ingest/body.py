"""Reading a request's body: decompressed as it arrives, within a bound, without holding up the event loop."""

import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from io import BytesIO
from typing import Protocol

import zstandard

from events.turns import Turn

_INPUT_STEP_BYTES = 16 * 1024
_OUTPUT_STEP_BYTES = 256 * 1024
_TURN_S = 0.002

# zstandard cannot bound what one call returns, so what one call is given has to be small: four bytes can
# stand for a block of 128 KB, hence 128 bytes for 4 MB, which takes 1 to 3 ms. It costs usual bodies a few
# per cent.
_ZSTD_INPUT_BYTES = 128
# A frame's header of six bytes names the window that its reader has to allocate, up to terabytes, and no
# budget of the caller's sees that memory. RFC 9659 forbids content codings more than 8 MB; SDKs use 2 MB.
_ZSTD_WINDOW_BYTES_MAX = 8 * 1024 * 1024
_ZSTD_AHEAD_BYTES = _ZSTD_INPUT_BYTES // 4 * 128 * 1024

_ENCODINGS_MAX = 3


class BodyError(Exception):
    """A body that cannot be read.

    BodyError
     ├─ BodyTooLarge           more bytes than the bound
     ├─ EncodingNotSupported   a content coding that is not accepted
     └─ BodyNotDecodable       a compressed stream that is broken or ends too early
    """


class BodyTooLarge(BodyError):
    """The body has more than bytes_max bytes: decompressed, on the wire, or between two codings."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"the body has more than {bytes_max} bytes")
        self.bytes_max = bytes_max


class EncodingNotSupported(BodyError):
    """Content-Encoding names a coding that is not accepted, or too many of them."""

    def __init__(self, encoding: str, accepted: tuple[str, ...]) -> None:
        super().__init__(f"the content encoding {encoding!r} is not supported, only {', '.join(accepted)}")
        self.encoding = encoding
        self.accepted = accepted


class BodyNotDecodable(BodyError):
    """The bytes are not what Content-Encoding says, or their stream ends too early."""

    def __init__(self, encoding: str, reason: str) -> None:
        super().__init__(f"the body is not valid {encoding}: {reason}")
        self.encoding = encoding
        self.reason = reason


async def read_body(
    chunks: AsyncIterator[bytes],
    encoding: str | None,
    *,
    bytes_max: int,
    on_growth: Callable[[int], Awaitable[None]] | None = None,
) -> bytes:
    """The whole body, decompressed as a Content-Encoding header says (None: it is not compressed).

    on_growth is awaited with the bytes that the body so far and the next piece of it may take, before a piece is
    decompressed or added: a caller with a budget of memory waits or raises there. Raises EncodingNotSupported before
    anything is read, BodyTooLarge as soon as the bound is passed, and BodyNotDecodable when the stream is broken or cut
    short.
    """
    names = _encodings(encoding)
    # The header lists codings in the order in which they were applied.
    stages = _Stages([_DECODERS[name]() for name in reversed(names)], bytes_max, on_growth)
    async for chunk in chunks:
        await stages.take(chunk)
    return stages.finish()


def _encodings(header: str | None) -> list[str]:
    names = [name.strip().lower() for name in (header or "").split(",")]
    names = [name for name in names if name not in ("", "identity")]
    for name in names:
        if name not in _DECODERS:
            raise EncodingNotSupported(name, ACCEPTED_ENCODINGS)
    if len(names) > _ENCODINGS_MAX:
        raise EncodingNotSupported(", ".join(names), ACCEPTED_ENCODINGS)
    return names


class _Decoder(Protocol):
    ahead_bytes: int
    """How much of its output may be in memory at once before it is passed on."""
    kept_bytes: int
    """How much of its output it may keep to refer to. Where the output is the body, that is as large anyway."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode the next bytes of the stream, in pieces of bounded size. Raises BodyNotDecodable."""

    def finish(self) -> None:
        """Raise BodyNotDecodable when the stream has begun but not ended."""


class _Stages:
    """The way from the wire through every decoder into the body. Each stage counts what reaches it."""

    def __init__(
        self,
        decoders: list[_Decoder],
        bytes_max: int,
        on_growth: Callable[[int], Awaitable[None]] | None,
    ) -> None:
        self._decoders = decoders
        self._sizes = [0] * (len(decoders) + 1)
        self._bytes_max = bytes_max
        self._on_growth = on_growth
        self._ahead_bytes = sum(each.ahead_bytes for each in decoders) + sum(each.kept_bytes for each in decoders[:-1])
        # BytesIO gives away its own buffer in the end. Joining a list of pieces would hold the body twice.
        self._body = BytesIO()
        self._turn = Turn(_TURN_S)

    async def take(self, data: bytes, stage: int = 0) -> None:
        """Take what has reached a stage; stage 0 is the wire."""
        if not data:
            return
        await self._turn.give_way()
        self._sizes[stage] += len(data)
        if self._sizes[stage] > self._bytes_max:
            raise BodyTooLarge(self._bytes_max)
        if self._on_growth is not None and (stage == 0 or stage == len(self._decoders)):
            await self._on_growth(self._sizes[-1] + self._ahead_bytes)
        if stage == len(self._decoders):
            self._body.write(data)
            return
        for start in range(0, len(data), _INPUT_STEP_BYTES):
            for piece in self._decoders[stage].feed(data[start : start + _INPUT_STEP_BYTES]):
                await self.take(piece, stage + 1)
            await self._turn.give_way()  # Input can go on and on without any output.

    def finish(self) -> bytes:
        for decoder in self._decoders:
            decoder.finish()
        return self._body.getvalue()


class _Zstd:
    """Frames of Zstandard, one after the other, with or without a content size."""

    ahead_bytes = _ZSTD_AHEAD_BYTES
    kept_bytes = _ZSTD_WINDOW_BYTES_MAX

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES_MAX)
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        outputs: list[bytes] = []
        size = position = 0
        while position < len(data):
            output, read = self._step(data[position : position + _ZSTD_INPUT_BYTES])
            position += read
            outputs.append(output)
            size += len(output)
            if size >= _OUTPUT_STEP_BYTES:
                yield b"".join(outputs)
                outputs, size = [], 0
        if size:
            yield b"".join(outputs)

    def finish(self) -> None:
        if self._frame is not None:
            raise BodyNotDecodable("zstd", "the stream ends too early")

    def _step(self, data: bytes) -> tuple[bytes, int]:
        """What data decompresses to, and how much of it was read: up to the end of the frame at most."""
        frame = self._frame or self._decompressor.decompressobj()
        try:
            output = frame.decompress(data)
        except zstandard.ZstdError as error:
            raise BodyNotDecodable("zstd", str(error)) from None
        self._frame = None if frame.eof else frame
        return output, len(data) - len(frame.unused_data)


class _Gzip:
    """Members of gzip, one after the other; zeros may pad them."""

    ahead_bytes = _OUTPUT_STEP_BYTES
    kept_bytes = 0

    def __init__(self) -> None:
        self._member: _ZlibStream | None = None
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._member is None:
                data = data.lstrip(b"\0") if self._begun else data
                if not data:
                    return
                self._member = _ZlibStream("gzip", 16 + zlib.MAX_WBITS)
                self._begun = True
            yield from self._member.feed(data)
            if not self._member.eof:
                return
            data = self._member.unused_data
            self._member = None

    def finish(self) -> None:
        if self._member is not None:
            self._member.finish()


class _Deflate:
    """One zlib stream, which is what `deflate` means, or the bare deflate that some clients take it for."""

    ahead_bytes = _OUTPUT_STEP_BYTES
    kept_bytes = 0

    def __init__(self) -> None:
        self._head = b""
        self._stream: _ZlibStream | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._stream is None:
            data = self._head + data
            if len(data) < 2:
                self._head = data
                return
            self._stream = _ZlibStream("deflate", zlib.MAX_WBITS if _is_zlib(data) else -zlib.MAX_WBITS)
        elif self._stream.eof and data:
            raise BodyNotDecodable("deflate", "bytes follow the end of the stream")
        yield from self._stream.feed(data)
        if self._stream.unused_data:
            raise BodyNotDecodable("deflate", "bytes follow the end of the stream")

    def finish(self) -> None:
        if self._stream is not None:
            self._stream.finish()
        elif self._head:
            raise BodyNotDecodable("deflate", "the stream ends too early")


class _ZlibStream:
    """One stream of the zlib family."""

    def __init__(self, encoding: str, window_bits: int) -> None:
        self._encoding = encoding
        self._stream = zlib.decompressobj(window_bits)

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def feed(self, data: bytes) -> Iterator[bytes]:
        # A full piece can leave more to come although all of data has been read.
        more = True
        while more and not self.eof:
            try:
                piece = self._stream.decompress(data, _OUTPUT_STEP_BYTES)
            except zlib.error as error:
                raise BodyNotDecodable(self._encoding, str(error)) from None
            data = self._stream.unconsumed_tail
            more = bool(data) or len(piece) == _OUTPUT_STEP_BYTES
            if piece:
                yield piece

    def finish(self) -> None:
        if not self.eof:
            raise BodyNotDecodable(self._encoding, "the stream ends too early")


def _is_zlib(head: bytes) -> bool:
    """Whether a stream begins with a zlib header (RFC 1950): method 8 and a checksum over its two bytes."""
    return head[0] & 0x0F == 8 and int.from_bytes(head[:2]) % 31 == 0


_DECODERS: dict[str, Callable[[], _Decoder]] = {
    "zstd": _Zstd,
    "gzip": _Gzip,
    "x-gzip": _Gzip,
    "deflate": _Deflate,
}

ACCEPTED_ENCODINGS = (*_DECODERS, "identity")

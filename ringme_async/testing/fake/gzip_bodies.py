"""Compressed bodies: correct ones, corrupt ones and decompression bombs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache

_BLOCK = 2**20
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK = b"\x03\x00"


@lru_cache(maxsize=1_024)
def packed(body: bytes) -> bytes:
    """Compress a body with gzip."""
    return zlib.compress(body, 1, zlib.MAX_WBITS | 16)


def garbled(body: bytes) -> bytes:
    """Return a gzip header followed by bytes that are not gzip."""
    return _GZIP_HEADER + b"\xff" * max(8, len(body) // 2)


def zeros(size: int) -> Iterator[bytes]:
    """Compress zeros at the cost of one block: a full flush makes blocks repeatable."""
    blocks, rest = divmod(size, _BLOCK)
    yield _GZIP_HEADER
    block = _deflated(_BLOCK)
    for _ in range(blocks):
        yield block
    yield _deflated(rest) + _LAST_BLOCK
    yield struct.pack("<II", _checksum(size), size % 2**32)


def _deflated(size: int) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflate.compress(bytes(size)) + deflate.flush(zlib.Z_FULL_FLUSH)


@lru_cache(maxsize=16)
def _checksum(size: int) -> int:
    block = bytes(_BLOCK)
    checksum = 0
    for _ in range(size // _BLOCK):
        checksum = zlib.crc32(block, checksum)
    return zlib.crc32(bytes(size % _BLOCK), checksum)

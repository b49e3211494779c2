"""The head of an answer: its fields, from lines most of which have come before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ringme_async.transports import Headers
from ringme_async.transports.body_decoder import in_lower_case

__all__ = ["LONGEST_HEAD", "HeaderParser"]

LONGEST_HEAD: Final = 2**16
# What a field of the head counts for beside its length, so that many small ones are too much too.
_FIELD: Final = 64
_MOST_LINES: Final = 256
_LONGEST_LINE: Final = 256
# What no line holds, unless it is folded, or lines end with LF alone; or in no HTTP at all.
_ODD: Final = re.compile(rb"^[ \t]|[\r\n\0]")
_FOLD: Final = re.compile(rb"\n([ \t])")


class _OddLineError(Exception):
    """A line is not just a field."""


class _Lines(dict[bytes, tuple[str, str]]):
    """Lines of heads, each with the name and the value that it holds; a new one is read."""

    __slots__ = ()

    def __missing__(self, line: bytes) -> tuple[str, str]:
        if _ODD.search(line):
            raise _OddLineError
        name, _, value = line.decode("utf-8", "surrogateescape").partition(":")
        found = name.rstrip(" ").lower(), value.strip(" \t")
        if len(line) <= _LONGEST_LINE:
            if len(self) >= _MOST_LINES:
                self.clear()
            self[line] = found
        return found


class HeaderParser:
    """Reads the heads of answers that llhttp has found sound.

    It could give their fields itself, but only one by one, by calls that cost more than all else
    about an answer. A server says nearly the same in each head, so its lines are kept and found
    again as they are; only new ones are taken apart.
    """

    __slots__ = ("_field_in", "lines")

    def __init__(self) -> None:
        self.lines: Mapping[bytes, tuple[str, str]] = _Lines()
        self._field_in = self.lines.__getitem__

    def read(self, data: bytes) -> tuple[Headers | None, bytes]:
        """Read the first head of some data.

        Returns:
            Its fields, or None if they are too much or hold a zero byte; and what follows it.
        """
        head, _, rest = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        try:
            if first.find(b"\n") >= 0:
                raise _OddLineError
            return self._headers(head, lines), rest
        except _OddLineError:
            return self._read_oddly(data)

    def _read_oddly(self, data: bytes) -> tuple[Headers | None, bytes]:
        """Read as old servers spell: lines that end with LF alone, and fields over many lines."""
        after = data.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n")[2].lstrip(b" ")
        head, _, rest = after.partition(b"\n\n") if after[:1] != b"\n" else (b"", b"", after[1:])
        lines = _FOLD.sub(rb"\1", head).split(b"\n") if head else []
        try:
            return self._headers(head, lines), rest
        except _OddLineError:
            return None, rest

    def _headers(self, head: bytes, lines: list[bytes]) -> Headers | None:
        if len(head) + _FIELD * len(lines) > LONGEST_HEAD:
            return None
        return in_lower_case(dict(map(self._field_in, lines)))

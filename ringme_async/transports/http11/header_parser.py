"""The head of a response: its header fields, from lines that mostly came before."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ringme_async.transports import Headers
from ringme_async.transports.body_decoder import lower_case_headers

__all__ = ["LONGEST_HEAD", "HeaderParser"]

LONGEST_HEAD: Final = 2**16
# Each field counts this much beside its length, so that many small fields exceed the cap too.
_FIELD: Final = 64
_MOST_LINES: Final = 256
_LONGEST_LINE: Final = 256
# Matches folded lines, lines that end with LF alone, and bytes that HTTP forbids.
_IRREGULAR: Final = re.compile(rb"^[ \t]|[\r\n\0]")
_FOLD: Final = re.compile(rb"\n([ \t])")


class _IrregularLineError(Exception):
    """A line is more than one field."""


class _Lines(dict[bytes, tuple[str, str]]):
    """A cache of header lines with their names and values. It parses new lines."""

    __slots__ = ()

    def __missing__(self, line: bytes) -> tuple[str, str]:
        if _IRREGULAR.search(line):
            raise _IrregularLineError
        name, _, value = line.decode("utf-8", "surrogateescape").partition(":")
        found = name.rstrip(" ").lower(), value.strip(" \t")
        if len(line) <= _LONGEST_LINE:
            if len(self) >= _MOST_LINES:
                self.clear()
            self[line] = found
        return found


class HeaderParser:
    """Parses the heads of responses after llhttp has accepted them.

    llhttp gives fields one by one, in calls that cost more than the rest of a response. A server
    repeats most lines in each head, so this parser caches lines and parses only new ones.
    """

    __slots__ = ("_parse_line", "lines")

    def __init__(self) -> None:
        self.lines: Mapping[bytes, tuple[str, str]] = _Lines()
        self._parse_line = self.lines.__getitem__

    def parse(self, data: bytes) -> tuple[Headers | None, bytes]:
        """Parse the first head in some data.

        Returns:
            Its fields, or None if they exceed the cap or hold a zero byte; and the bytes after it.
        """
        head, _, rest = data.lstrip(b"\r\n").partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        try:
            if first.find(b"\n") >= 0:
                raise _IrregularLineError
            return self._headers(head, lines), rest
        except _IrregularLineError:
            return self._parse_irregular(data)

    def _parse_irregular(self, data: bytes) -> tuple[Headers | None, bytes]:
        """Parse the head of an old server: lines that end with LF alone, and folded fields."""
        after = data.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n")[2].lstrip(b" ")
        head, _, rest = after.partition(b"\n\n") if after[:1] != b"\n" else (b"", b"", after[1:])
        lines = _FOLD.sub(rb"\1", head).split(b"\n") if head else []
        try:
            return self._headers(head, lines), rest
        except _IrregularLineError:
            return None, rest

    def _headers(self, head: bytes, lines: list[bytes]) -> Headers | None:
        if len(head) + _FIELD * len(lines) > LONGEST_HEAD:
            return None
        return lower_case_headers(dict(map(self._parse_line, lines)))

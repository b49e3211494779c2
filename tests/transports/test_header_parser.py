"""The parser of response heads."""

from __future__ import annotations

import re
from contextlib import suppress

from httptools import HttpParserError, HttpResponseParser
from hypothesis import given
from hypothesis import strategies as st

from ringme_async.transports import Headers
from ringme_async.transports.http11.header_parser import LONGEST_HEAD, HeaderParser

# Bytes in and between lines that llhttp reads in several ways, or refuses.
PARTS = (
    "\r\n", "\n", "\r", "\r\n ", "\n\t", "\r\n\r\n", "\n\n", " ", "\t", ":", ": ", "\x0b", "\x85",
    "\xa0", "A: b\r\n", "X-One: 1\r\n", "x-one: 2\n", "X-ONE : 3\r\n", "Content-Length: 5\r\n",
    "Connection: close\r\n", "\u044f: b", "HTTP/1.1 103 Early\r\n",
)  # fmt: skip
# llhttp skips it at the start of a value, but RFC 9112 (2.2) refuses it.
BARE_CR = re.compile(rb"\r(?!\n)")


class Reference:
    """Collects the fields of the first head from llhttp itself."""

    def __init__(self, data: bytes) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.headers: Headers | None = None
        parser = HttpResponseParser(self)
        parser.set_dangerous_leniencies(
            lenient_headers=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        with suppress(HttpParserError):
            parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.headers is None:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.headers is None:
            self.headers = Headers(
                {
                    name.decode().rstrip(" ").lower(): value.decode(
                        "utf-8", "surrogateescape"
                    ).strip(" \t")
                    for name, value in self.fields
                }
            )


@given(parts=st.lists(st.one_of(st.sampled_from(PARTS), st.text("aB \t:-", max_size=4))))
def test_a_head_has_the_same_fields_as_llhttp_finds(parts: list[str]) -> None:
    data = f"HTTP/1.1 200 OK\r\n{''.join(parts)}\r\n\r\n".encode()
    reference = Reference(data).headers
    if reference is not None:
        parser = HeaderParser()
        # The second time all lines come from the cache.
        for headers in (parser.parse(data)[0], parser.parse(data)[0]):
            assert headers == reference or (headers is None and BARE_CR.search(data))


@given(parts=st.lists(st.sampled_from(PARTS)), ends=st.sampled_from(["\r\n\r\n", "\n\n", "\n\r\n"]))
def test_the_bytes_after_a_head_stay_unread(parts: list[str], ends: str) -> None:
    first = "HTTP/1.1 103 Early\r\nLink: x"
    second = f"HTTP/1.1 200 OK\r\n{''.join(parts)}\r\n\r\n".encode()
    parser = HeaderParser()
    reference = Reference(second).headers
    if reference is not None:
        early, rest = parser.parse(f"{first}{ends}".encode() + second)
        headers, _ = parser.parse(rest)
        assert early == {"link": "x"}
        assert headers == reference or (headers is None and BARE_CR.search(second))


def test_the_last_value_of_a_repeated_field_counts() -> None:
    headers, _ = HeaderParser().parse(b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\na: 3\r\nA: 4\r\n\r\n")

    assert headers is not None
    assert list(headers.items()) == [("a", "4"), ("b", "2")]


def test_unique_lines_take_bounded_memory() -> None:
    parser = HeaderParser()
    for number in range(1_000):
        headers, _ = parser.parse(f"HTTP/1.1 200 OK\r\nA: {number}\r\nB: c\r\n\r\n".encode())
        assert headers == {"a": str(number), "b": "c"}

    assert len(parser.lines) <= 256


def test_long_lines_are_not_cached() -> None:
    parser = HeaderParser()
    parser.parse(b"HTTP/1.1 200 OK\r\nA: " + b"1" * 1_000 + b"\r\nB: c\r\n\r\n")

    assert list(parser.lines) == [b"B: c"]


def test_a_head_over_the_cap_is_refused() -> None:
    long = b"A: " + b"1" * LONGEST_HEAD
    many = b"\r\n".join([b"A: 1"] * 1_000)

    for lines in (long, many, many.replace(b"\r", b""), b"A: \0", b"A: \0\n"):
        assert HeaderParser().parse(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n\r\n")[0] is None

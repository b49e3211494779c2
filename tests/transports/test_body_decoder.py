"""Decoding a body chunk by chunk."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async.errors import ResponseLost, ResponseTooLarge
from ringme_async.transports import Headers, Request, Response
from ringme_async.transports.body_decoder import BodyDecoder, decompressed, peer_of

URL = "https://pbx.example.com/path?q=s3cret"


def decoder_of(coding: str, max_body: int = 10_000) -> BodyDecoder:
    return BodyDecoder(URL, Headers({"content-encoding": coding}), max_body)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "identity": bytes,
}


@given(
    body=st.binary(max_size=2_000),
    coding=st.sampled_from(sorted(PACKERS)),
    size=st.integers(1, 64),
)
def test_any_body_survives_any_cut_into_chunks(body: bytes, coding: str, size: int) -> None:
    packed = PACKERS[coding](body)
    decoder = decoder_of(coding)
    for place in range(0, len(packed), size):
        decoder.feed(packed[place : place + size])

    assert decoder.finish() == body


@given(
    body=st.binary(min_size=1, max_size=2_000),
    coding=st.sampled_from(["gzip", "deflate"]),
    data=st.data(),
)
def test_half_a_compressed_body_never_passes_for_the_whole(
    body: bytes, coding: str, data: st.DataObject
) -> None:
    packed = PACKERS[coding](body)
    decoder = decoder_of(coding)
    decoder.feed(packed[: data.draw(st.integers(1, len(packed) - 1))])

    with pytest.raises(ResponseLost, match="stops in the middle"):
        decoder.finish()
    assert body.startswith(decoder.so_far())


@given(noise=st.binary(min_size=1, max_size=500), coding=st.sampled_from(["gzip", "deflate", "br"]))
def test_noise_gives_a_body_or_one_kind_of_error(noise: bytes, coding: str) -> None:
    decoder = decoder_of(coding)
    lost: ResponseLost | None = None
    try:
        decoder.feed(noise)
        decoder.finish()
    except ResponseLost as error:
        lost = error

    if lost is not None:
        assert lost.__context__ is None
        assert "s3cret" not in str(lost)


@given(
    body=st.binary(max_size=300), cap=st.integers(1, 300), coding=st.sampled_from(sorted(PACKERS))
)
def test_the_cap_holds_to_the_byte(body: bytes, cap: int, coding: str) -> None:
    decoder = decoder_of(coding, cap)
    if len(body) > cap:
        with pytest.raises(ResponseTooLarge, match=f"{cap} bytes"):
            decoder.feed(PACKERS[coding](body))
        assert len(decoder.so_far()) <= cap
    else:
        decoder.feed(PACKERS[coding](body))
        assert decoder.finish() == body


@given(
    pieces=st.lists(st.binary(max_size=200), min_size=1, max_size=3),
    padding=st.integers(0, 3),
    lost=st.integers(0, 9),
    cap=st.integers(1, 400),
)
def test_a_response_in_one_piece_decompresses_as_one_in_chunks(
    pieces: list[bytes], padding: int, lost: int, cap: int
) -> None:
    packed = b"".join(map(gzip.compress, pieces)) + b"\0" * padding
    packed = packed[: len(packed) - lost]
    answer = Response(200, Headers({"content-encoding": "gzip", "x-one": "1"}), packed)
    decoder = decoder_of("gzip", cap)
    expected: bytes | type[Exception]
    try:
        decoder.feed(packed[:1])
        decoder.feed(packed[1:])
        expected = decoder.finish()
    except (ResponseLost, ResponseTooLarge) as error:
        expected = type(error)

    if isinstance(expected, bytes):
        whole = decompressed(Request("GET", URL), answer, cap)
        assert whole.body == expected
        assert dict(whole.headers) == {"x-one": "1"}
    else:
        with pytest.raises(expected):
            decompressed(Request("GET", URL), answer, cap)


def test_a_bomb_in_one_piece_takes_a_few_times_the_cap_in_memory() -> None:
    bomb = gzip.compress(bytes(64 * 2**20))
    answer = Response(200, Headers({"content-encoding": "gzip"}), bomb)
    tracemalloc.start()
    try:
        with pytest.raises(ResponseTooLarge, match="1048576 bytes"):
            decompressed(Request("GET", URL), answer, 2**20)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert most < 4 * 2**20


def test_a_chunk_of_zeros_is_padding() -> None:
    decoder = decoder_of("gzip")
    decoder.feed(gzip.compress(b"hello"))
    decoder.feed(b"\0" * 10)
    decoder.feed(b"\0\0" + gzip.compress(b" again"))

    assert decoder.finish() == b"hello again"


@pytest.mark.parametrize(
    ("url", "peer"),
    [
        ("https://pbx.example.com/path?q=1", "pbx.example.com:443"),
        ("http://user:s3cret@pbx.example.com:8080/", "pbx.example.com:8080"),
        ("http://[::1]/", "::1:80"),
        ("http://pbx.example.com:99999/", "an unreadable address"),
        ("http://[::1/", "an unreadable address"),
        ("/path", "no host:80"),
    ],
)
def test_a_message_names_only_host_and_port(url: str, peer: str) -> None:
    assert peer_of(url) == peer

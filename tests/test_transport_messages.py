"""Requests, responses and headers as values."""

from __future__ import annotations

import math
import pickle

import pytest

from ringme_async.errors import InvalidRequest
from ringme_async.transports import Headers, Request, Response, Timeouts


def test_headers_are_found_in_any_letter_case() -> None:
    headers = Headers({"X-RateLimit-Reset": "5"})

    assert headers["x-ratelimit-RESET"] == "5"
    assert "X-RATELIMIT-RESET" in headers
    assert headers.get("absent") is None


def test_headers_contain_names_only() -> None:
    assert 5 not in Headers({"a": "b"})


def test_headers_compare_and_hash_by_value() -> None:
    assert Headers({"A": "1"}) == Headers({"a": "1"})
    assert hash(Headers({"A": "1"})) == hash(Headers({"a": "1"}))


def test_headers_count_and_list_their_names() -> None:
    assert list(Headers({"A": "1", "B": "2"})) == ["a", "b"]
    assert len(Headers({"A": "1", "B": "2"})) == 2


def test_headers_survive_pickling() -> None:
    headers = Headers({"A": "1"})

    assert pickle.loads(pickle.dumps(headers)) == headers


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "Set-Cookie", "Proxy-Authorization"])
def test_headers_do_not_show_their_secrets(name: str) -> None:
    assert "s3cret" not in repr(Headers({name: "s3cret"}))


def test_headers_show_values_that_are_not_secret() -> None:
    assert repr(Headers({"Date": "today"})) == "Headers({'date': 'today'})"


def test_a_request_shows_neither_query_nor_credentials_nor_headers_nor_body() -> None:
    url = "https://user:s3cret@pbx.example.com:8443/api/ver1.0/client/12/client/?token=s3cret"
    request = Request("PUT", url, Headers({"Authorization": "Bearer s3cret"}), b"s3cret")

    assert (
        repr(request) == "<Request PUT https://pbx.example.com:8443/api/ver1.0/client/12/client/>"
    )


def test_a_request_takes_a_plain_mapping_as_its_headers() -> None:
    assert Request("GET", "https://a/", {"A": "1"}).headers == Headers({"a": "1"})


def test_a_request_without_headers_has_none() -> None:
    assert len(Request("GET", "https://a/").headers) == 0


def test_a_response_shows_its_size_and_not_its_body() -> None:
    assert repr(Response(200, {}, b"personal")) == "<Response 200, 8 bytes>"


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_timeouts_must_be_above_zero(seconds: float) -> None:
    with pytest.raises(InvalidRequest, match="connect must be a number of seconds above 0"):
        Timeouts(connect=seconds)


def test_headers_give_a_default_for_a_missing_field() -> None:
    assert Headers({"A": "1"}).get("b", "2") == "2"


def test_a_request_to_a_malformed_url_can_still_be_shown() -> None:
    assert repr(Request("GET", "http://[::1/")) == "<Request GET of a malformed URL>"

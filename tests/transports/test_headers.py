"""Headers are frozen, found in any letter case, and left out by name."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from ringme_async.transports import Headers
from ringme_async.transports.lazy_headers import LazyHeaders


def received(fields: Mapping[str, str]) -> Headers:
    return LazyHeaders(CIMultiDictProxy(CIMultiDict(fields)))


Make = Callable[[Mapping[str, str]], Headers]
either_kind = pytest.mark.parametrize("make", [Headers, received])


@either_kind
def test_a_field_is_found_in_any_letter_case(make: Make) -> None:
    headers = make({"X-One": "1"})
    assert (headers["x-ONE"], headers.get("X-one"), "x-One" in headers) == ("1", "1", True)


@either_kind
def test_a_missing_field_gives_the_default(make: Make) -> None:
    headers = make({"X-One": "1"})
    assert (headers.get("x-two"), headers.get("x-two", "2")) == (None, "2")


@either_kind
def test_fields_are_left_out_in_any_letter_case(make: Make) -> None:
    headers = make({"X-One": "1", "X-Two": "2", "X-Three": "3"})
    assert dict(headers.without("x-one", "X-THREE", "x-four")) == {"x-two": "2"}


@either_kind
def test_leaving_fields_out_does_not_change_the_original(make: Make) -> None:
    headers = make({"X-One": "1", "X-Two": "2"})
    headers.without("x-one")
    assert dict(headers) == {"x-one": "1", "x-two": "2"}


def test_all_values_of_a_repeated_field_are_left_out() -> None:
    came = CIMultiDict({"X-One": "1", "X-Two": "2"})
    came.add("x-one", "3")
    assert dict(LazyHeaders(CIMultiDictProxy(came)).without("x-one")) == {"x-two": "2"}


@either_kind
def test_headers_without_some_fields_can_be_pickled(make: Make) -> None:
    left = make({"X-One": "1", "X-Two": "2"}).without("x-one")
    assert dict(pickle.loads(pickle.dumps(left))) == {"x-two": "2"}

"""What a list of countries is, allows and keeps."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from hypothesis import given

from ringme_async.errors import InvalidRequest
from ringme_async.resources.clients.geo_list import GeoList
from tests.records import geo_lists


def test_a_list_allows_the_countries_it_names() -> None:
    geo = GeoList("RU US BY")

    assert geo.codes == ("RU", "US", "BY")
    assert not geo.everywhere
    assert geo.allows("US")
    assert not geo.allows("DE")


def test_an_asterisk_allows_all_countries() -> None:
    geo = GeoList("*")

    assert geo.codes == ()
    assert geo.everywhere
    assert geo.allows("DE")


@given(geo_lists)
def test_a_list_keeps_its_wire_form(wire: str) -> None:
    geo = GeoList(wire)

    assert str(geo) == wire
    assert repr(geo) == f"GeoList({wire!r})"
    assert str(pickle.loads(pickle.dumps(geo))) == wire
    assert str(copy.deepcopy(geo)) == wire


def test_lists_are_equal_if_they_allow_the_same_countries() -> None:
    assert GeoList("RU BY") == GeoList("BY RU") == GeoList("RU BY RU")
    assert hash(GeoList("RU BY")) == hash(GeoList("BY RU"))
    assert GeoList("RU") != GeoList("BY")
    assert GeoList("*") != GeoList("RU")


def test_a_list_is_not_equal_to_a_string() -> None:
    assert GeoList("RU") != "RU"


@pytest.mark.parametrize(
    "wire",
    [
        "",
        " ",
        "Russia",
        "ru",
        "RU  BY",
        "RU,BY",
        " RU",
        "RU ",
        "RU\n",
        "* RU",
        "**",
        "RÜ",
        "RUS",
        "ＲＵ",
    ],
)
def test_an_invalid_list_of_countries_is_refused(wire: str) -> None:
    with pytest.raises(InvalidRequest, match="geo_list must be"):
        GeoList(wire)


@pytest.mark.parametrize("wire", [None, 5, True, b"RU", ["RU"]])
def test_a_list_that_is_no_string_is_refused(wire: Any) -> None:
    with pytest.raises(InvalidRequest, match="geo_list must be"):
        GeoList(wire)


@pytest.mark.parametrize("country", ["ru", "", "RUS", "*", "RU BY", "RU\n", None, 7])
@pytest.mark.parametrize("wire", ["*", "RU BY"])
def test_a_country_is_two_capital_letters(wire: str, country: Any) -> None:
    with pytest.raises(InvalidRequest, match="two capital letters"):
        GeoList(wire).allows(country)


def test_a_private_use_code_is_accepted() -> None:
    assert GeoList("XK RU").allows("XK")


def test_a_list_cannot_be_changed() -> None:
    geo: Any = GeoList("RU")

    with pytest.raises(AttributeError):
        geo.codes = ("BY",)
    with pytest.raises(AttributeError):
        geo.more = "BY"

"""FrozenJSON: immutable, and compared as strictly as JSON compares."""

from __future__ import annotations

import copy
import math
import pickle
from collections import deque
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async._internal.frozen_json import FrozenJSON, RecordExtra, same_json
from ringme_async.errors import InvalidRequest
from ringme_async.resources.clients.model import Client
from tests.records import any_json, any_text, exactly

objects: st.SearchStrategy[dict[str, Any]] = st.dictionaries(any_text, any_json, max_size=4)


def nested(levels: int) -> dict[str, Any]:
    outermost: dict[str, Any] = {}
    for _ in range(levels - 1):
        outermost = {"a": outermost}
    return outermost


@given(objects)
def test_plain_json_survives_freezing(fields: dict[str, Any]) -> None:
    frozen = FrozenJSON(fields)

    assert exactly(frozen.to_json()) == exactly(fields)
    assert list(frozen) == list(fields)
    assert len(frozen) == len(fields)


@given(objects)
def test_copies_are_equal_and_hash_alike(fields: dict[str, Any]) -> None:
    frozen = FrozenJSON(fields)
    backwards = FrozenJSON(dict(reversed(fields.items())))

    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(frozen, protocol)) == frozen
    assert copy.copy(frozen) == copy.deepcopy(frozen) == frozen == backwards == fields
    assert hash(copy.deepcopy(frozen)) == hash(backwards) == hash(frozen)
    assert exactly(pickle.loads(pickle.dumps(frozen)).to_json()) == exactly(fields)


@given(objects, objects)
def test_objects_are_equal_just_when_their_json_is_the_same(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    # As floats, 0.0 and -0.0 are equal, though written otherwise.
    same = exactly(one).replace("-0.0", "0.0") == exactly(other).replace("-0.0", "0.0")

    assert (FrozenJSON(one) == FrozenJSON(other)) is same
    assert (FrozenJSON(one) == other) is same


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), (1, 1.0), (1.0, True)])
def test_1_and_true_and_1_0_are_different_values(one: Any, other: Any) -> None:
    kept = {FrozenJSON({"a": [one]}): one, FrozenJSON({"a": [other]}): other}

    assert FrozenJSON({"a": one}) != FrozenJSON({"a": other})
    assert FrozenJSON({"a": {"b": [one]}}) != {"a": {"b": [other]}}
    assert [type(value) for value in kept.values()] == [type(one), type(other)]
    assert not same_json(one, other)


def test_arrays_and_objects_of_other_sizes_or_kinds_differ() -> None:
    frozen = FrozenJSON({"a": [1, 2], "b": {"c": None}})

    assert frozen == {"b": {"c": None}, "a": (1, 2)}
    for other in (
        {"a": [1], "b": {"c": None}},
        {"a": [1, 2], "b": {"d": None}},
        {"a": [1, 2], "b": {}},
        {"a": {}, "b": {"c": None}},
        {"a": [1, 2], "b": []},
        {"a": [1, 2]},
        [],
        None,
    ):
        assert frozen != other


def test_nothing_in_it_can_be_changed() -> None:
    inner: dict[str, Any] = {"c": [1, {"d": 2}]}
    frozen: Any = FrozenJSON({"a": [inner], "b": inner})
    before = hash(frozen)

    inner["c"].append(3)
    frozen.to_json()["b"]["c"].append(4)
    for change in (
        lambda: frozen.__setitem__("a", 1),
        lambda: frozen["b"].__setitem__("c", 1),
        lambda: frozen["a"].append(1),
        lambda: setattr(frozen, "a", 1),
    ):
        with pytest.raises(AttributeError):
            change()

    assert frozen == {"a": [{"c": [1, {"d": 2}]}], "b": {"c": [1, {"d": 2}]}}
    assert hash(frozen) == before


def test_it_is_read_like_any_mapping() -> None:
    frozen = FrozenJSON({"a": 1, "b": [{"c": None}]})

    assert frozen["b"] == (FrozenJSON({"c": None}),)
    assert "a" in frozen
    assert frozen.get("z") is None
    assert dict(frozen.items()) == {"a": 1, "b": (FrozenJSON({"c": None}),)}
    with pytest.raises(KeyError):
        frozen["z"]


def test_its_repr_can_be_evaluated() -> None:
    frozen = FrozenJSON({"a": [1, 1.0, True, None, "\n"], "b": {}})

    assert eval(repr(frozen)) == frozen
    assert "\n" not in repr(frozen)


def test_any_mapping_and_sequence_can_be_frozen() -> None:
    source: Mapping[str, Any] = MappingProxyType({"a": deque([1]), "b": FrozenJSON({"c": (2,)})})

    assert FrozenJSON(source).to_json() == {"a": [1], "b": {"c": [2]}}


def test_a_frozen_value_stays_the_same_object() -> None:
    frozen = FrozenJSON({"a": 1})

    assert Client(id=12, extra=frozen).extra is frozen


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, b"x", bytearray(), {1}, object(), {1: 2}, [b"x"], 1j],
)
def test_a_value_that_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"a is no JSON value|the name of a field"):
        FrozenJSON({"a": value})


@pytest.mark.parametrize("fields", [None, [], "a", 5])
def test_a_value_that_is_no_mapping_is_refused(fields: Any) -> None:
    with pytest.raises(InvalidRequest, match="must be a mapping"):
        FrozenJSON(fields)


def test_a_name_that_is_no_string_is_refused() -> None:
    fields: Any = {5: "a"}

    with pytest.raises(InvalidRequest, match="the name of a field must be a string, not 5"):
        FrozenJSON(fields)


def test_sixty_four_levels_may_be_frozen_and_no_more() -> None:
    deepest = FrozenJSON(nested(64))

    assert pickle.loads(pickle.dumps(deepest)) == copy.deepcopy(deepest) == deepest
    assert hash(deepest) == hash(FrozenJSON(nested(64)))
    with pytest.raises(InvalidRequest, match="a is nested deeper than 64 levels"):
        FrozenJSON(nested(65))
    with pytest.raises(InvalidRequest, match="b is nested deeper than 64 levels"):
        FrozenJSON({"b": deepest})


def test_an_object_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)

    with pytest.raises(InvalidRequest, match="nested deeper"):
        FrozenJSON({"a": circle})


def test_an_or_replaces_and_adds_fields() -> None:
    frozen = FrozenJSON({"a": 1, "b": 2})

    assert frozen | {"b": None, "c": [3]} == {"a": 1, "b": None, "c": [3]}
    assert frozen == {"a": 1, "b": 2}


def test_absent_fields_of_a_record_are_kept_but_not_compared() -> None:
    extra = RecordExtra({"a": 1}, frozenset({"name"}))

    for twin in (copy.copy(extra), pickle.loads(pickle.dumps(extra)), extra | {"b": 2}):
        assert twin.absent == {"name"}
    assert extra == FrozenJSON({"a": 1})
    assert hash(extra) == hash(FrozenJSON({"a": 1}))
    assert repr(extra) == "FrozenJSON({'a': 1})"


def test_records_that_lack_the_same_fields_share_one_set_of_names() -> None:
    one = RecordExtra({}, frozenset({"name", "type"}))
    other = RecordExtra({}, frozenset({"type", "name"}))

    assert one.absent is other.absent

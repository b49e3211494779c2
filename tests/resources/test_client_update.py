"""A change of a client as a value: what it names, refuses, sends and does."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async._internal.frozen_json import FrozenJSON
from ringme_async.errors import DecodeError, InvalidRequest
from ringme_async.resources.clients.codec import client_from_json, client_to_json
from ringme_async.resources.clients.geo_list import GeoList
from ringme_async.resources.clients.model import FIELDS, Client
from ringme_async.resources.clients.update import UNSET, WRITABLE, ClientUpdate
from tests.records import geo_lists, records, unknown_fields

_ids = st.integers(min_value=0, max_value=2**63 - 1)
_writable: dict[str, st.SearchStrategy[Any]] = {
    "dial_rule_id": _ids,
    "sip_network_permission_id": _ids,
    "geo_list": geo_lists,
    "hold_music": _ids,
    "disk_space_notify_threshold": st.integers(min_value=0, max_value=100),
    "disk_space_notify_email": st.sampled_from(["a@example.com", "b+c@пример.рф", "x@y"]),
    "timezone": st.sampled_from(["Europe/Moscow", "UTC", "Etc/GMT+3", "America/Port-au-Prince"]),
}
settings = st.fixed_dictionaries(
    {}, optional={name: st.none() | values for name, values in _writable.items()}
)


@st.composite
def clients(draw: st.DrawFn) -> Client:
    """Clients whose writable fields could have been written, and whose others are anything."""
    record = draw(records())
    for name in WRITABLE:
        record.pop(name, None)
    return client_from_json(record | draw(settings))


@st.composite
def updates(draw: st.DrawFn) -> ClientUpdate:
    return ClientUpdate(**draw(settings), extra=draw(unknown_fields))


def test_a_field_that_an_update_does_not_name_is_unset() -> None:
    update = ClientUpdate(timezone="Asia/Omsk", hold_music=None)

    assert update.timezone == "Asia/Omsk"
    assert update.hold_music is None
    assert update.dial_rule_id is UNSET
    assert update.changes() == {"timezone": "Asia/Omsk", "hold_music": None}


def test_an_empty_update_is_false() -> None:
    assert not ClientUpdate()
    assert ClientUpdate(hold_music=None)
    assert ClientUpdate(hold_music=0)
    assert ClientUpdate(extra={"newer": None})
    assert ClientUpdate().changes() == {}


def test_a_list_of_countries_may_be_given_in_either_form() -> None:
    update = ClientUpdate(geo_list="RU BY")

    assert update == ClientUpdate(geo_list=GeoList("RU BY"))
    assert update.geo_list == GeoList("RU BY")
    assert update.changes() == {"geo_list": "RU BY"}
    assert ClientUpdate(geo_list="*").changes() == {"geo_list": "*"}


def test_fields_of_a_newer_server_are_sent_as_they_are() -> None:
    update = ClientUpdate(hold_music=1, extra={"call_interactive_out_call": True, "x": [1.0, {}]})

    assert update.changes() == {
        "hold_music": 1,
        "call_interactive_out_call": True,
        "x": [1.0, {}],
    }


REFUSED: list[tuple[str, Any]] = [
    *(
        (name, value)
        for name in ("dial_rule_id", "sip_network_permission_id", "hold_music")
        for value in (True, False, -1, 2**63, 1.0, "5", [], object())
    ),
    *(("disk_space_notify_threshold", value) for value in (140, 101, -1, True, 50.0, "50", "50%")),
    *(
        ("disk_space_notify_email", value)
        for value in (
            "",
            " ",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c",
            "a@b\n",
            "a@b\r\nBcc: x",
            "a@b\x00",
            "a@b\u2028",
            "a@b\ud800",
            "a@b, c@d",
            5,
            b"a@b",
        )
    ),
    *(
        ("timezone", value)
        for value in (
            "",
            " ",
            "Europe/ Moscow",
            "/Moscow",
            "Europe/",
            "../etc",
            "Москва",
            "A//B",
            "UTC\n",
            3,
            True,
        )
    ),
    *(
        ("geo_list", value)
        for value in ("Russia", "ru", "", "RU  BY", "* RU", 5, True, ["RU"], b"*")
    ),
]


@pytest.mark.parametrize(("name", "value"), REFUSED)
def test_an_error_names_the_field_of_a_malformed_value(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name} must be ") as caught:
        ClientUpdate(**{name: value})

    assert str(caught.value).isprintable()


def test_every_writable_field_is_checked() -> None:
    assert {name for name, _ in REFUSED} == set(WRITABLE)


def test_an_error_shows_the_value_and_a_valid_form() -> None:
    with pytest.raises(InvalidRequest) as caught:
        ClientUpdate(disk_space_notify_threshold=140)

    assert str(caught.value) == (
        "disk_space_notify_threshold must be an integer from 0 to 100, or None to clear it; not 140"
    )


@given(settings)
def test_valid_values_are_accepted(named: dict[str, Any]) -> None:
    assert ClientUpdate(**named).changes() == named


@pytest.mark.parametrize("name", FIELDS)
def test_a_modelled_field_has_no_place_in_extra(name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"^{name} (is a field of|cannot be changed)"):
        ClientUpdate(extra={name: None})


@pytest.mark.parametrize("extra", [None, [], {"a": float("nan")}, {"a": b""}, {1: 2}])
def test_an_extra_that_is_no_json_object_is_refused(extra: Any) -> None:
    with pytest.raises(InvalidRequest):
        ClientUpdate(extra=extra)


def test_a_field_that_no_client_has_is_refused_by_python() -> None:
    with pytest.raises(TypeError, match="time_zone"):
        ClientUpdate(time_zone="UTC")  # type: ignore[call-arg]


def test_an_update_is_frozen() -> None:
    update: Any = ClientUpdate(hold_music=1)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        update.hold_music = 2


@given(updates())
def test_an_update_survives_copying_pickling_and_attrs(update: ClientUpdate) -> None:
    for twin in (
        copy.deepcopy(update),
        pickle.loads(pickle.dumps(update)),
        attrs.evolve(update),
        ClientUpdate(**attrs.asdict(update)),
    ):
        assert twin == update
        assert hash(twin) == hash(update)
        assert twin.changes() == update.changes()


def test_an_updates_repr_shows_its_fields() -> None:
    update = ClientUpdate(hold_music=None, geo_list="RU", extra={"a": [1]})

    assert repr(update) == (
        "ClientUpdate(geo_list=GeoList('RU'), hold_music=None, extra=FrozenJSON({'a': [1]}))"
    )
    assert repr(ClientUpdate()) == "ClientUpdate()"


@given(before=clients(), after=clients())
def test_a_diff_applied_to_before_gives_after(before: Client, after: Client) -> None:
    changed = ClientUpdate.diff(before, after).apply_to(before)

    for name in WRITABLE:
        assert getattr(changed, name) == getattr(after, name)
    for name in set(FIELDS) - set(WRITABLE):
        assert getattr(changed, name) == getattr(before, name)
    assert changed.extra == before.extra | after.extra


@given(clients())
def test_a_client_does_not_differ_from_itself(client: Client) -> None:
    assert ClientUpdate.diff(client, client) == ClientUpdate()


@given(update=updates(), client=clients())
def test_applying_an_update_twice_is_applying_it_once(update: ClientUpdate, client: Client) -> None:
    once = update.apply_to(client)

    assert update.apply_to(once) == once
    assert not ClientUpdate.diff(once, update.apply_to(once))


@given(update=updates(), client=clients())
def test_a_diff_sets_no_more_fields_than_the_update_behind_it(
    update: ClientUpdate, client: Client
) -> None:
    diff = ClientUpdate.diff(client, update.apply_to(client))

    assert diff.apply_to(client) == update.apply_to(client)
    assert set(diff.changes()) <= set(update.changes())


def test_a_diff_sets_only_fields_that_differ() -> None:
    before = Client(id=12, hold_music=1, timezone="UTC", geo_list="RU BY")
    after = Client(id=12, hold_music=None, timezone="UTC", geo_list="BY RU", name="other")

    assert ClientUpdate.diff(before, after) == ClientUpdate(hold_music=None)


def test_a_diff_tells_1_from_true_in_extra() -> None:
    before = Client(id=12, extra=FrozenJSON({"a": 1, "b": [1, None]}))
    after = Client(id=12, extra=FrozenJSON({"a": True, "b": [1, None], "c": None}))

    assert ClientUpdate.diff(before, after).changes() == {"a": True, "c": None}


def test_a_diff_does_not_clear_an_extra_field_that_after_lacks() -> None:
    before = Client(id=12, extra=FrozenJSON({"a": 1}))

    assert not ClientUpdate.diff(before, Client(id=12))


@pytest.mark.parametrize(
    ("name", "raw"), [("geo_list", "Russia"), ("timezone", ""), ("hold_music", -1)]
)
def test_a_diff_in_a_read_only_field_is_refused(name: str, raw: Any) -> None:
    odd = Client(**{"id": 12, name: raw})

    with pytest.raises(InvalidRequest, match=f"^{name} must be "):
        ClientUpdate.diff(Client(id=12), odd)
    assert not ClientUpdate.diff(odd, odd)


def test_applying_an_update_keeps_absent_fields_absent() -> None:
    client = client_from_json({"id": 12, "newer": 1})

    changed = ClientUpdate(hold_music=5, timezone=None, extra={"newer": 2}).apply_to(client)

    assert client_to_json(changed) == {"id": 12, "hold_music": 5, "newer": 2}
    assert client_to_json(client) == {"id": 12, "newer": 1}


@pytest.mark.parametrize("wrong", [None, 5, "x", [], [("a", 1)]], ids=repr)
@pytest.mark.parametrize("kind", [ClientUpdate, lambda extra: Client(id=12, extra=extra)])
def test_an_error_names_extra_that_is_no_mapping(kind: Any, wrong: Any) -> None:
    with pytest.raises(InvalidRequest, match="extra must be a mapping of fields, not "):
        kind(extra=wrong)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda wrong: ClientUpdate.diff(wrong, Client(id=1)), "before"),
        (lambda wrong: ClientUpdate.diff(Client(id=1), wrong), "after"),
        (lambda wrong: ClientUpdate().apply_to(wrong), "client"),
        (client_to_json, "client"),
    ],
)
def test_an_error_names_the_argument_that_is_no_client(make: Any, named: str) -> None:
    for wrong in (None, 5, {"id": 1}):
        with pytest.raises(InvalidRequest, match=f"^{named} is a Client, not "):
            make(wrong)


def test_a_record_that_is_no_object_is_no_record() -> None:
    for wrong in (None, 5, "x", [1]):
        record: Any = wrong
        with pytest.raises(DecodeError, match="a record must be a JSON object"):
            client_from_json(record)

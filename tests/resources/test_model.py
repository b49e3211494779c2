"""A client as a value: typed by meaning where there is one, raw where there is none."""

from __future__ import annotations

import copy
import pickle
from datetime import datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringme_async._internal.frozen_json import FrozenJSON
from ringme_async._internal.text import shown
from ringme_async.resources.clients import model as models
from ringme_async.resources.clients.codec import client_from_json, client_to_json
from ringme_async.resources.clients.geo_list import GeoList
from ringme_async.resources.clients.model import FIELDS, Client, ClientType
from ringme_async.resources.clients.update import UNSET, WRITABLE, Unset
from tests.records import any_text, records


def test_a_client_has_the_28_fields_of_the_api_page_and_extra() -> None:
    assert len(FIELDS) == 28
    assert [field.name for field in attrs.fields(Client)] == [*FIELDS, "extra"]


def test_seven_fields_can_be_changed() -> None:
    assert set(WRITABLE) == {
        "dial_rule_id",
        "disk_space_notify_email",
        "disk_space_notify_threshold",
        "geo_list",
        "hold_music",
        "sip_network_permission_id",
        "timezone",
    }


def test_every_exported_name_is_there() -> None:
    assert all(hasattr(models, name) for name in models.__all__)


def test_a_client_made_by_hand_needs_only_its_id() -> None:
    client = Client(id=12, name="x")

    assert (client.id, client.name, client.type, client.extra) == (12, "x", None, {})


def test_raw_and_converted_values_make_the_same_client() -> None:
    raw = Client(
        id=12,
        type="J",
        extension_len="3",
        create_date="2020-03-16 09:29:57",
        geo_list="RU BY",
        presence="no",
        short_local_caller_id="yes",
        extra={"newer": [1]},  # type: ignore[arg-type]
    )
    meant = Client(
        id=12,
        type=ClientType.LEGAL_ENTITY,
        extension_len=3,
        create_date=datetime(2020, 3, 16, 9, 29, 57),
        geo_list=GeoList("RU BY"),
        presence=False,
        short_local_caller_id=True,
        extra=FrozenJSON({"newer": [1]}),
    )

    assert raw == meant
    assert hash(raw) == hash(meant)


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        *(("type", raw) for raw in ["j", "X", "", "J "]),
        *(("presence", raw) for raw in ["maybe", "Yes", "true", ""]),
        *(("short_local_caller_id", raw) for raw in ["NO", "1"]),
        *(("geo_list", raw) for raw in ["Russia", "ru", "RU  BY", ""]),
        *(
            ("extension_len", raw)
            for raw in ["abc", "03", "3 ", " 3", "+3", "-3", "３", "3３", "3.0", "", "9" * 19]
        ),
        *(
            ("create_date", raw)
            for raw in [
                "0000-00-00 00:00:00",
                "2020-02-30 09:29:57",
                "2020-3-16 9:29:57",
                "2020-03-16T09:29:57",
                "2020-03-16 09:29:57 ",
                "2020-03-16 09:29:57+03:00",
                "2020-03-16 09:29:57.5",
                "2020-03-16 24:00:00",
                "2020-W12-1T09:29:57",
                "２０２０-03-16 09:29:57",
                "2020-03-16",
                "\ud800",
                "",
            ]
        ),
    ],
)
def test_a_value_outside_its_type_stays_a_string(name: str, raw: str) -> None:
    client = client_from_json({"id": 12, name: raw})

    assert getattr(client, name) == raw
    assert type(getattr(client, name)) is str
    assert client_to_json(client)[name] == raw


@given(st.datetimes().map(lambda moment: moment.replace(microsecond=0)))
def test_every_moment_in_the_apis_form_is_read(moment: datetime) -> None:
    assert Client(id=1, create_date=str(moment)).create_date == moment


def test_a_moment_has_no_zone_as_the_api_states_none() -> None:
    moment = Client(id=1, create_date="2020-03-16 09:29:57").create_date

    assert isinstance(moment, datetime)
    assert moment.tzinfo is None


def test_the_kinds_of_clients_are_their_letters() -> None:
    assert ClientType.LEGAL_ENTITY == "J"
    assert ClientType.NATURAL_PERSON == "F"
    assert f"{ClientType.LEGAL_ENTITY}" == "J"
    assert repr(ClientType.NATURAL_PERSON) == "ClientType.NATURAL_PERSON"


def test_a_client_is_frozen_and_slotted() -> None:
    client: Any = Client(id=12)

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        client.name = "y"
    assert not hasattr(client, "__dict__")


@given(records())
def test_a_client_survives_copying_pickling_and_attrs(record: dict[str, Any]) -> None:
    client = client_from_json(record)

    for twin in (
        copy.copy(client),
        copy.deepcopy(client),
        pickle.loads(pickle.dumps(client)),
        attrs.evolve(client),
        Client(**attrs.asdict(client)),
    ):
        assert twin == client
        assert hash(twin) == hash(client)
        assert client_to_json(twin) == client_to_json(client)


@given(records())
def test_a_clients_repr_is_one_line(record: dict[str, Any]) -> None:
    text = repr(client_from_json(record))

    assert text.startswith("Client(id=")
    assert text.isprintable()


def test_a_clients_repr_shows_its_known_fields() -> None:
    client = Client(id=12, name="x", type="J", presence="no", geo_list="RU", extra={"a": [1]})  # type: ignore[arg-type]

    assert repr(client) == (
        "Client(id=12, name='x', type=ClientType.LEGAL_ENTITY, geo_list=GeoList('RU'),"
        " presence=False, extra=FrozenJSON({'a': [1]}))"
    )


@given(any_text | st.integers() | st.lists(any_text))
def test_a_shown_value_is_one_bounded_line(value: object) -> None:
    assert len(shown(value)) <= 100
    assert shown(value).isprintable()


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(10**5_000, id="integer"),
        pytest.param(["x" * 500] * 500, id="array"),
        pytest.param({"a": 10**5_000}, id="object"),
        pytest.param("x" * 10**6, id="text"),
    ],
)
def test_a_huge_value_is_shortened(value: object) -> None:
    assert len(shown(value)) <= 100


def test_unset_is_false_and_survives_copying() -> None:
    assert not UNSET
    assert UNSET is Unset.UNSET
    assert repr(UNSET) == str(UNSET) == "UNSET"
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET
    assert copy.deepcopy(UNSET) is UNSET

"""Records as servers send them, and as they might: recorded ones, and any number of made-up ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from ringme_async._internal.frozen_json import JSON
from ringme_async.resources.clients.model import FIELDS

SAMPLES = Path(__file__).parent / "samples"
EXAMPLE = (SAMPLES / "client.example.json").read_bytes()
LATER = (SAMPLES / "client.later.json").read_bytes()

INTEGERS = (
    "dial_rule_id",
    "sip_network_permission_id",
    "hold_music",
    "disk_space_notify_threshold",
)
FLAGS = ("record_stereo", "reg_status_log")
TEXTS = tuple(name for name in FIELDS if name not in {"id", "extension_len", *INTEGERS, *FLAGS})

any_text = st.text(st.characters())
any_integer = st.integers() | st.integers(min_value=2**60, max_value=10**400) | st.just(-(2**64))
any_scalar = (
    st.none()
    | st.booleans()
    | any_integer
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1, 1.0, True, 0, -0.0, False, 2**63, 2**64, 5e-324, 1.7976931348623157e308])
    | any_text
)
any_json: st.SearchStrategy[Any] = st.recursive(
    any_scalar,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)

_dates = st.sampled_from(
    [
        "2020-03-16 09:29:57",
        "0000-00-00 00:00:00",
        "2020-02-30 00:00:00",
        "2020-03-16T09:29:57",
        "2020-03-16 24:00:00",
        "2020-03-16",
    ]
) | st.datetimes().map(lambda moment: str(moment.replace(microsecond=0)))
_codes = st.text("ABCRUZ", min_size=2, max_size=2)
geo_lists = st.just("*") | st.lists(_codes, min_size=1, max_size=4).map(" ".join)
_likely: dict[str, st.SearchStrategy[JSON]] = {
    "type": st.sampled_from(["J", "F", "X", "j"]),
    "create_date": _dates,
    "geo_list": geo_lists | st.sampled_from(["", "Russia", "ru", "RU  BY", "* RU"]),
    "presence": st.sampled_from(["yes", "no", "maybe", "YES"]),
    "short_local_caller_id": st.sampled_from(["yes", "no", "", "true"]),
    "prefix": st.sampled_from(["0001", "00"]),
}


def _values(name: str) -> st.SearchStrategy[JSON]:
    if name in INTEGERS:
        return any_integer
    if name in FLAGS:
        return st.booleans()
    if name == "extension_len":
        lengths = st.sampled_from(["3", "03", "3 ", "-3", "abc", "", "0", "9" * 19])
        return any_integer | lengths | any_text
    return any_text | _likely.get(name, st.nothing())


unknown_fields = st.dictionaries(
    (
        any_text | st.sampled_from(["extra", "absent", "self", "_fields", "call_interactive_url"])
    ).filter(lambda name: name not in FIELDS),
    any_json,
    max_size=4,
)


@st.composite
def records(draw: st.DrawFn) -> dict[str, JSON]:
    """Records with any of their fields absent, null, as they should be, or odd."""
    record: dict[str, JSON] = {"id": draw(any_integer)}
    for name in draw(st.sets(st.sampled_from(FIELDS))) - {"id"}:
        record[name] = draw(st.none() | _values(name))
    for name in draw(st.sampled_from([(), FIELDS])):
        record.setdefault(name, None)
    record.update(draw(unknown_fields))
    return record


def exactly(value: JSON) -> str:
    """The JSON as a text that tells 1, 1.0 and true apart, and minds no order of fields."""
    return json.dumps(value, sort_keys=True)

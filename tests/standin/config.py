"""The configuration of a stand-in: a JSON object, read strictly, so that a typo is an error."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

JSON = Any
_T = TypeVar("_T")

EXAMPLE: dict[str, JSON] = json.loads(
    """
    {"domain": "sip.ringme.ru", "create_date": "2020-03-16 09:29:57", "hold_music": null,
     "presence": "no", "sip_network_permission_id": null, "prefix": "0001", "record_stereo": false,
     "ambassadors": null, "id": 12, "domain_prefix": "00001", "contact_phones": null,
     "name": "ringme_test", "timezone": "Europe/Moscow", "dial_rule_id": 19, "type": "J",
     "email": "admin@domain.com", "reg_status_log": false, "fact_address": null,
     "extra_params": null, "extension_len": 3, "geo_list": null,
     "did_as_transfer_caller_id": "default", "jur_address": null, "language": null,
     "record_format": "mp3", "short_local_caller_id": "yes", "disk_space_notify_email": null,
     "disk_space_notify_threshold": null}
    """
)


class BadConfig(ValueError):
    """The configuration says something that the stand-in does not know."""


def _build(kind: type[_T], given: Mapping[str, JSON]) -> _T:
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    unknown = set(given) - known
    if unknown:
        raise BadConfig(f"{kind.__name__} has no {sorted(unknown)}; it has {sorted(known)}")
    return kind(**given)


@dataclass(frozen=True, slots=True)
class Select:
    """Selects tenants: all given conditions must hold; none selects all."""

    ids: frozenset[int] | None = None
    range: tuple[int, int] | None = None
    divisible_by: int | None = None

    @classmethod
    def of(cls, given: JSON) -> Select:
        """Read ``[1, 2]``, ``{"range": [1, 100]}``, ``{"divisible_by": 97}`` or a mix of them."""
        if isinstance(given, list):
            return cls(ids=frozenset(given))
        chosen = _build(cls, given or {})
        return cls(
            ids=None if chosen.ids is None else frozenset(chosen.ids),
            range=None if chosen.range is None else (chosen.range[0], chosen.range[1]),
            divisible_by=chosen.divisible_by,
        )

    def __contains__(self, number: object) -> bool:
        return (
            isinstance(number, int)
            and (self.ids is None or number in self.ids)
            and (self.range is None or self.range[0] <= number <= self.range[1])
            and (self.divisible_by is None or number % self.divisible_by == 0)
        )


NOBODY = Select(ids=frozenset())
EVERYBODY = Select()


@dataclass(frozen=True, slots=True)
class User:
    """A user of a password application. ``access`` is ``full``, ``read`` or ``none``."""

    password: str
    access: str = "full"
    blocked: bool = False


@dataclass(frozen=True, slots=True)
class Application:
    """An application: it belongs to one tenant, and may reach more if it is a dealer's.

    ``kind`` is ``trusted``, ``password`` or ``public``; ``access`` is ``full``, ``read``, ``none``.
    """

    app_id: str
    secret: str
    tenant: int
    kind: str = "trusted"
    ceiling: int | None = None
    reach: Select = NOBODY
    access: str = "full"
    users: Mapping[str, User] = field(default_factory=dict)
    refresh_token: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, JSON]) -> Application:
        """Read one from its JSON object; ``"reach": {}`` is everybody."""
        made = dict(given)
        made["reach"] = Select.of(given["reach"]) if "reach" in given else NOBODY
        made["users"] = {name: _build(User, user) for name, user in given.get("users", {}).items()}
        return _build(cls, made)


@dataclass(frozen=True, slots=True)
class OwnApplications:
    """Every tenant in ``tenants`` has the App ID ``app-<id>`` and the secret ``secret-<id>``."""

    tenants: Select
    ceiling: int | None = None

    @classmethod
    def of(cls, given: Mapping[str, JSON]) -> OwnApplications:
        """Read from its JSON object."""
        return _build(cls, {**given, "tenants": Select.of(given.get("tenants"))})

    def find(self, app_id: str) -> Application | None:
        """The application of this App ID, made at its first use."""
        head, _, number = app_id.partition("-")
        if head != "app" or not (number.isascii() and number.isdigit()):
            return None
        tenant = int(number)
        if tenant not in self.tenants:
            return None
        return Application(app_id, f"secret-{tenant}", tenant, ceiling=self.ceiling)


@dataclass(slots=True)
class Rule:
    """What happens to certain requests: always, or ``times`` times after the first ``skip``.

    ``on`` has ``GET``, ``PUT`` and ``token``; ``do`` is a kind of faults.py, ``apps`` App IDs.
    """

    do: str
    tenants: Select = EVERYBODY
    apps: list[str] | None = None
    on: tuple[str, ...] = ("GET", "PUT")
    times: int | None = None
    skip: int = 0
    seconds: float | None = None
    retry_after: str | None = None
    to: str | None = None
    body: str | None = None
    hits: int = 0

    @classmethod
    def of(cls, given: Mapping[str, JSON]) -> Rule:
        """Read from its JSON object."""
        made = dict(given)
        made["tenants"] = Select.of(given.get("tenants"))
        made["on"] = tuple(given.get("on", ("GET", "PUT")))
        return _build(cls, made)


@dataclass(slots=True)
class Faults:
    """Random faults: a rate for each kind; one seed gives the same faults in any order."""

    seed: int = 1
    rates: dict[str, float] = field(default_factory=dict)
    token_rates: dict[str, float] = field(default_factory=dict)
    max_in_a_row: int = 2
    stall_seconds: float = 2.0
    drip_seconds: float = 1.0
    skew_seconds: float = 86_400.0
    bomb_bytes: int = 300 * 2**20
    retry_after: list[str] = field(default_factory=lambda: [""])
    redirect_status: int = 307


@dataclass(slots=True)
class Config:
    """All settings of the stand-in; see the fields' groups."""

    # Tenants and their records.
    tenants: Select = Select(range=(1, 1000))
    template: dict[str, JSON] = field(default_factory=lambda: dict(EXAMPLE))
    records: dict[str, dict[str, JSON]] = field(default_factory=dict)
    later_revision: bool = False
    extension_len: str = "integer"  # or "string", "mixed"
    absent: list[str] = field(default_factory=list)
    extra: dict[str, JSON] = field(default_factory=dict)
    blocked: Select = NOBODY
    unwritable: list[str] = field(default_factory=list)
    exclusive_writes: bool = False
    stored_as: dict[str, JSON] = field(default_factory=dict)  # texts stored in another form

    # Applications, tokens, logins.
    applications: list[Application] = field(default_factory=list)
    own_applications: OwnApplications | None = None
    login_per_second: int | None = 20
    login_at_once: int | None = 6
    login_latency: float = 0.0
    token_lifetime: float = 3600.0
    token_uses: int | None = None
    expires_in: str | int = "true"  # or "string", "missing", or a number that may be wrong
    token_type: str = "Bearer"
    refresh_tokens: bool = False
    wrong_secret_status: int = 401

    # The hourly counter.
    window_seconds: float = 3600.0
    ceiling: int = 1_000_000_000
    reset_rounding: str = "floor"  # or "ceil"
    limit_headers: bool = True

    # The wire.
    latency: float | list[float] = 0.0
    no_gzip: str = "refuse"  # or "record"
    compress: str = "always"  # or "never", "mixed"
    set_cookie: bool = False
    requests_per_connection: int | None = None
    clock_skew: float = 0.0
    tls: dict[str, str] | None = None  # {"certfile": ..., "keyfile": ...}

    # Faults.
    faults: Faults = field(default_factory=Faults)
    rules: list[Rule] = field(default_factory=list)

    @classmethod
    def of(cls, given: Mapping[str, JSON]) -> Config:
        """Read from its JSON object."""
        made: dict[str, JSON] = dict(given)
        for name in ("tenants", "blocked"):
            if name in made:
                made[name] = Select.of(made[name])
        made["applications"] = [Application.of(each) for each in made.get("applications", ())]
        if made.get("own_applications") is not None:
            made["own_applications"] = OwnApplications.of(made["own_applications"])
        made["faults"] = _build(Faults, made.get("faults", {}))
        made["rules"] = [Rule.of(each) for each in made.get("rules", ())]
        return _build(cls, made)

"""Faults, set by rule or by chance from a seed.

Kinds of faults:

* before anything is read or counted: ``reset_before``, ``close_before``, ``html`` (a proxy's 502),
  ``empty`` (a 503 without a body), ``cut_head_before``, ``nonsense`` (no HTTP at all),
  ``redirect`` (to the other host);
* counted, not acted on: ``500`` ... ``599``, ``busy``, ``token_death``, and the refusals
  ``user_blocked``, ``access_denied``, ``user_access_type_deny``, ``app_access_type_deny``,
  ``client_not_found``, ``bad_request``, ``status_403`` (an answer of any code without words);
* acted on, and then: ``500_after`` ... ``599_after``, ``reset_after``, ``close_after``, ``cut``,
  ``cut_head``, ``garble`` (gzip with flipped bytes), ``bad_crc``, ``half_json``, ``wrong_type``, ``bomb``
  (zeros in gzip), ``flood`` (zeros, plain), ``stall``, ``drip``, ``hangup``, ``clock_skew``.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from .config import BadConfig, Faults, Rule

_MEGABYTE = 2**20
_WORDS = {"user_blocked", "access_denied", "user_access_type_deny", "app_access_type_deny"}
BEFORE = {
    "reset_before",
    "close_before",
    "html",
    "empty",
    "cut_head_before",
    "nonsense",
    "redirect",
}
INSTEAD = {"busy", "token_death", "client_not_found", "bad_request"} | _WORDS
AFTER = {
    *(
        "reset_after",
        "close_after",
        "cut",
        "cut_head",
        "garble",
        "bad_crc",
        "half_json",
        "wrong_type",
    ),
    *("bomb", "flood", "stall", "drip", "hangup", "clock_skew"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of one request."""

    kind: str
    chance: float = 0.0  # a second random number, for variants
    seconds: float | None = None
    retry_after: str | None = None
    to: str | None = None
    body: str | None = None

    @property
    def code(self) -> int | None:
        """The HTTP status, of the kinds that are one."""
        word = self.kind.removeprefix("status_").removesuffix("_after")
        return int(word) if word.isdigit() else None

    @property
    def before(self) -> bool:
        """Does it strike before anything is counted?"""
        return self.kind in BEFORE

    @property
    def after(self) -> bool:
        """Is the request carried out?"""
        return self.kind in AFTER or self.kind.endswith("_after")


def check_kind(kind: str) -> None:
    """Refuse a kind that does not exist."""
    if kind not in BEFORE | INSTEAD | AFTER and Fault(kind).code is None:
        raise BadConfig(f"no fault is called {kind!r}")


class FaultBox:
    """Decides the fault of the n-th request of a subject."""

    def __init__(self, faults: Faults, rules: Iterable[Rule]) -> None:
        self.faults = faults
        self.rules = list(rules)
        for kind in (*faults.rates, *faults.token_rates, *(rule.do for rule in self.rules)):
            check_kind(kind)
        self._asked: dict[str, int] = {}
        self._in_a_row: dict[str, int] = {}

    def on_call(self, method: str, tenant: int) -> Fault | None:
        """The fault of a call about a tenant."""
        for rule in self.rules:
            if method in rule.on and tenant in rule.tenants and self._strikes(rule):
                return self._from(rule)
        return self._by_chance(str(tenant), self.faults.rates)

    def on_login(self, app_id: str) -> Fault | None:
        """The fault of a token request."""
        for rule in self.rules:
            meant = "token" in rule.on and (rule.apps is None or app_id in rule.apps)
            if meant and self._strikes(rule):
                return self._from(rule)
        return self._by_chance(f"login of {app_id}", self.faults.token_rates)

    @staticmethod
    def _strikes(rule: Rule) -> bool:
        rule.hits += 1
        number = rule.hits - rule.skip
        return number > 0 and (rule.times is None or number <= rule.times)

    @staticmethod
    def _from(rule: Rule) -> Fault:
        return Fault(rule.do, 0.0, rule.seconds, rule.retry_after, rule.to, rule.body)

    def _by_chance(self, subject: str, rates: dict[str, float]) -> Fault | None:
        if not rates:
            return None
        number = self._asked[subject] = self._asked.get(subject, 0) + 1
        seed = f"{self.faults.seed}|{subject}|{number}".encode()
        drawn = hashlib.blake2b(seed, digest_size=16).digest()
        point = int.from_bytes(drawn[:8], "big") / 2**64
        if self._in_a_row.get(subject, 0) >= self.faults.max_in_a_row:
            self._in_a_row.pop(subject)
            return None
        for kind, rate in rates.items():
            if point < rate:
                self._in_a_row[subject] = self._in_a_row.get(subject, 0) + 1
                chance = int.from_bytes(drawn[8:], "big") / 2**64
                forms = self.faults.retry_after
                return Fault(kind, chance, None, forms[int(chance * len(forms))])
            point -= rate
        self._in_a_row.pop(subject, None)
        return None


@lru_cache(maxsize=4)
def _crc_of_zeros(size: int) -> int:
    crc, zeros = 0, bytes(_MEGABYTE)
    for _ in range(size // _MEGABYTE):
        crc = zlib.crc32(zeros, crc)
    return crc


def gzip_bomb(size: int) -> Iterator[bytes]:
    """A well-formed gzip stream of so many zero bytes (rounded down to whole megabytes).

    A full flush makes every megabyte's block the same bytes, so it is compressed only once.
    """
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = squeeze.compress(bytes(_MEGABYTE)) + squeeze.flush(zlib.Z_FULL_FLUSH)
    megabytes = size // _MEGABYTE
    yield b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
    for _ in range(megabytes):
        yield block
    end = zlib.compressobj(9, zlib.DEFLATED, -15).flush(zlib.Z_FINISH)
    length = (megabytes * _MEGABYTE) & 0xFFFFFFFF
    yield end + _crc_of_zeros(size).to_bytes(4, "little") + length.to_bytes(4, "little")


def flood(size: int) -> Iterator[bytes]:
    """So many zero bytes as they are."""
    piece = bytes(65536)
    for _ in range(size // 65536):
        yield piece

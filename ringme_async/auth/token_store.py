"""The tokens of all tenants: fetched once however many wait, renewed in time, bounded."""

from __future__ import annotations

import asyncio
import math
import os
import random as random_
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from itertools import islice
from typing import cast

from ringme_async._internal.validation import seconds_from_zero, whole_number
from ringme_async.auth.credentials import RefreshToken, TokenKey
from ringme_async.auth.single_flight import Patience, SingleFlight
from ringme_async.auth.token import Token
from ringme_async.auth.token_endpoint import TokenEndpoint, TokenHost
from ringme_async.auth.token_entry import TokenEntry
from ringme_async.auth.token_file import TokenFile
from ringme_async.auth.token_persistence import TokenPersistence
from ringme_async.auth.uninterrupted import run_uninterrupted
from ringme_async.errors import RingMeClosed, TokenError, TransportError, copy_error

__all__ = ["TokenStore"]

REFUSAL_REMEMBERED = 60.0
"""Seconds for which refused credentials are not tried again."""

CREDIT = 20
"""New tokens in a row that have to be refused for credentials that were good to count as bad."""

LARGEST_MARGIN = 0.1
"""The part of a token's lifetime that its margin never passes."""

_CLOSED = "the RingMe that these tokens were kept for was closed"
_ROUNDS = 1_000


class TokenStore:
    """Keeps a token for every key and fetches it anew when it is due.

    A token is due ``margin`` seconds before it expires, or a tenth of its lifetime if that is
    less, and somewhat later by chance, so that tokens of one age are not all due at once. The first
    caller after that fetches a new one, and all callers wait for it; there is no fetching in the
    background.

    However many callers wait for one key, one token request is made, in a task of its own, on
    nobody's deadline. It is cancelled when the last of them leaves, with two exceptions: the
    trade-in of a refresh token, and a request that waits as long as the host has asked for,
    because a fresh one would not wait. A refusal (``TokenError``) is remembered for 60 seconds;
    other failures are not remembered. One store may serve several loops in turn, but not at once.

    A trade-in goes on to its end, because the server may have replaced the refresh token already
    and never sends the new one again. A time-out of the caller, ``aclose``, Ctrl-C and the end of
    ``asyncio.run`` wait for an answer that is on its way, until the request's own time-out
    (``Timeouts.attempt``) and for a minute at most.

    With a path, tokens outlive the process, and several processes may use the file at once. It
    holds tokens, so it has mode 0600 and must not be open to others; of the credentials it holds
    only hashes. A new refresh token is written before anybody uses it. Processes that share the
    file trade in a refresh token one after the other, so that none sends a spent one; a process
    that has waited 30 seconds for another fails with a ``TransportError`` that names the file. If
    the file cannot be read, no refresh token is sent. Of two tokens the later arrival counts,
    whatever the clocks say. It is read and written in the loop's thread, as a few hundred bytes at each login
    are quicker done than handed over; once in many thousand logins it is written anew, within some
    tenths of a second. If it cannot be written, or read for another login, that is logged and the
    store goes on without. Tokens of your own kinds of ``Auth`` are never written.

    Args:
        path: Where to keep tokens; its directory must exist. Default: nowhere.
        capacity: How many keys are kept; the least recently used are forgotten first, a
            thousandth of them at once, but none that is being fetched, and no refresh token that
            is kept nowhere else. Default 100,000.
        margin: Seconds before its end from which a token is not used any more. Default 30.
        wall_clock: Gives the time since the epoch in seconds; used for the file only, since the
            loop's time means nothing to another process.
        random: Gives a number from 0 to 1 for the jitter; for tests.

    Raises:
        InvalidRequest: An argument is out of its range, or the file could be read or placed
            there by somebody else.
    """

    def __init__(
        self,
        *,
        path: str | os.PathLike[str] | None = None,
        capacity: int = 100_000,
        margin: float = 30.0,
        wall_clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random_.random,
    ) -> None:
        self._capacity = whole_number("capacity", capacity, least=1)
        self._margin = seconds_from_zero("margin", margin)
        self._random = random
        file = None
        if path is not None:
            file = TokenFile(path, capacity=capacity, wall_clock=wall_clock)
        self._persistence = TokenPersistence(file)
        self._entries: OrderedDict[TokenKey, TokenEntry] = OrderedDict()
        # The last of them, if it was ready: most programs have one, which is then found at once.
        self._latest: tuple[TokenKey | None, TokenEntry | None] = (None, None)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def ready(self, key: TokenKey, now: float | None = None) -> Token | None:
        """Give the key's token if it can be used right now, without waiting for anything.

        Args:
            key: Whose token, and where.
            now: The running loop's time, if the caller knows it already.
        """
        latest_key, entry = self._latest
        if entry is None or key is not latest_key:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            self._latest = key, entry
        now = self._now() if now is None else now
        return entry.token if now < entry.good_until else None

    async def get(
        self, key: TokenKey, endpoint: TokenEndpoint, patience: Patience | None = None
    ) -> Token:
        """Give the key's token, after fetching it if need be.

        Args:
            key: Whose token, and where.
            endpoint: The way to the host, if this call is the one that has to fetch.
            patience: How long the caller can wait; it notes what went wrong meanwhile. Default
                for ever.

        Raises:
            TokenError: The credentials were refused, now or less than a minute ago.
            ApiError: The token endpoint is out of order.
            TransportError: The token endpoint gave no answer, or the token file cannot be used for
                a trade-in.
            DeadlineExceeded: The next attempt at it is later than the caller can wait.
            RingMeClosed: The store is closed.
        """
        if self._closed:
            raise RingMeClosed(_CLOSED)
        token = self.ready(key)
        if token is not None:
            return token
        entry = self._entry(key)
        flight = entry.flight
        if flight is None:
            # Before a remembered refusal is told: another process may have a newer token by now.
            saved = self._take_saved(key, entry)
            if saved is not None:
                self._trim()
                return saved
            if self._now() < entry.refused_until and entry.refusal is not None:
                remembered = copy_error(entry.refusal)
                remembered.attempts = 0
                raise remembered
            flight = self._take_off(key, entry, endpoint)
        try:
            outcome = await flight.landed(Patience() if patience is None else patience)
        finally:
            if flight.deserted:
                self._desert(key, entry, flight)
        if isinstance(outcome, Exception):
            raise copy_error(outcome)
        return outcome

    def drop(self, key: TokenKey, token: Token) -> bool:
        """Forget a token that was refused; a newer one stays.

        Args:
            key: Whose token it was.
            token: The very token that was refused.

        Returns:
            Whether it was still in use; if not, somebody else had found out before.
        """
        entry = self._entries.get(key)
        if entry is None or entry.token is not token:
            return False
        entry.token = None
        return True

    async def aclose(self) -> None:
        """End what is under way and forget all tokens; further calls do nothing.

        Callers that wait for a token get a ``RingMeClosed``. If a refresh token is being traded
        in, this waits for the answer and saves it, even if this is itself cancelled: until the
        request's own time-out (``Timeouts.attempt``), and for a minute at most.
        """
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        must_stay = self._persistence.owes or any(
            entry.flight is not None and isinstance(key.auth, RefreshToken)
            for key, entry in self._entries.items()
        )
        if must_stay:
            await run_uninterrupted(self._wind_up(tasks), name="ringme end of the tokens")
        else:
            await self._wind_up(tasks)

    async def _wind_up(self, tasks: tuple[asyncio.Task[None], ...]) -> None:
        if tasks:
            await asyncio.wait(tasks)
        await self._persistence.aclose()
        self._entries.clear()
        self._latest = None, None

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _entry(self, key: TokenKey) -> TokenEntry:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = TokenEntry()
        self._entries.move_to_end(key)
        self._latest = None, None
        return entry

    def _take_off(self, key: TokenKey, entry: TokenEntry, endpoint: TokenEndpoint) -> SingleFlight:
        flight = entry.flight = SingleFlight()
        host = endpoint.at(key.origin, flight.delayed, flight.sent)
        is_trade_in = isinstance(key.auth, RefreshToken)
        fetch = self._trade_in_whole if is_trade_in else self._log_in
        # A context of its own: the first caller's would hold its trace and its request for all.
        task = asyncio.get_running_loop().create_task(
            fetch(key, entry, flight, host), name="ringme login", context=Context()
        )
        flight.task = task
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._end(key, entry, flight))
        self._trim()
        return flight

    def _end(self, key: TokenKey, entry: TokenEntry, flight: SingleFlight) -> None:
        self._tasks.discard(flight.task)
        # A task that is cancelled before its first step never comes to its own landing.
        self._land(key, entry, flight, None)
        if not flight.task.cancelled():
            # Only what ends the program ends up here; asyncio has passed it on already.
            flight.task.exception()

    async def _log_in(
        self, key: TokenKey, entry: TokenEntry, flight: SingleFlight, host: TokenHost
    ) -> None:
        outcome: Token | Exception | None = None
        try:
            outcome = await _ask(key, host, entry.newest)
        finally:
            self._land(key, entry, flight, outcome)
        await self._persistence.save()

    async def _trade_in_whole(
        self, key: TokenKey, entry: TokenEntry, flight: SingleFlight, host: TokenHost
    ) -> None:
        await run_uninterrupted(
            self._trade_in(key, entry, flight, host), name="ringme trade-in", leave=flight.leave
        )

    async def _trade_in(
        self, key: TokenKey, entry: TokenEntry, flight: SingleFlight, host: TokenHost
    ) -> None:
        outcome: Token | Exception | None = None
        try:
            async with self._persistence.turn(key, flight.delayed):
                outcome = await self._traded_in(key, entry, host)
        except TransportError as error:
            outcome = error
        finally:
            self._land(key, entry, flight, outcome)
        await self._persistence.settle(key)

    async def _traded_in(
        self, key: TokenKey, entry: TokenEntry, host: TokenHost
    ) -> Token | Exception:
        while True:
            saved = self._take_saved(key, entry)
            if saved is not None:
                return saved
            spent = entry.newest
            outcome = await _ask(key, host, spent)
            if isinstance(outcome, Token):
                entry.number = self._persistence.keep(key, outcome, entry.number)
                try:
                    # Before anybody uses it: what a crash takes away now, nobody has seen.
                    await self._persistence.save()
                finally:
                    self._adopt(key, entry, outcome, lifetime=None)
                return outcome
            if not isinstance(outcome, TokenError):
                return outcome
            saved = self._take_saved(key, entry)
            if saved is not None or entry.newest is spent:
                return outcome if saved is None else saved

    def _land(
        self,
        key: TokenKey,
        entry: TokenEntry,
        flight: SingleFlight,
        outcome: Token | Exception | None,
    ) -> None:
        if flight.outcome is not None:
            return
        if outcome is None:
            outcome = self._cut_off()
        if entry.flight is flight:
            entry.flight = None
            if isinstance(outcome, Token):
                if entry.newest is not outcome:
                    self._adopt(key, entry, outcome, lifetime=None)
                    entry.number = self._persistence.keep(key, outcome, entry.number)
            elif isinstance(outcome, TokenError):
                entry.refusal = outcome
                entry.refused_until = self._now() + REFUSAL_REMEMBERED
            self._trim()
        flight.land(self._cut_off() if self._closed else outcome)

    def _adopt(
        self, key: TokenKey, entry: TokenEntry, token: Token, lifetime: float | None
    ) -> None:
        before = entry.newest
        if before is not None:
            token.credit = CREDIT if before.accepted else max(1, before.credit - 1)
        entry.token = entry.newest = token
        entry.refusal = None
        entry.good_until = math.inf
        if token.expires_at is not None:
            lifetime = token.expires_at - self._now() if lifetime is None else lifetime
            margin = min(self._margin, lifetime * LARGEST_MARGIN)
            entry.good_until = token.expires_at - margin * (1.0 + self._random()) / 2.0
        entry.irreplaceable = (
            not self._persistence.lasts
            and isinstance(key.auth, RefreshToken)
            and token.refresh_token != key.auth.refresh_token
        )

    def _desert(self, key: TokenKey, entry: TokenEntry, flight: SingleFlight) -> None:
        if isinstance(key.auth, RefreshToken):
            return
        entry.flight = None
        flight.task.cancel()

    def _cut_off(self) -> Exception:
        return RingMeClosed(_CLOSED) if self._closed else TransportError("the login was cancelled")

    def _trim(self) -> None:
        excess = len(self._entries) - self._capacity
        if excess <= 0:
            return
        idle = (key for key, entry in self._entries.items() if not entry.in_use)
        # A few at once, as each look for them takes its time.
        for key in list(islice(idle, excess + self._capacity // _ROUNDS)):
            del self._entries[key]
            self._latest = None, None

    def _take_saved(self, key: TokenKey, entry: TokenEntry) -> Token | None:
        """Take the file's token if it is newer than ours; give it if it is good now."""
        saved = self._persistence.newer(key, entry.newest, entry.number)
        if saved is None:
            return None
        entry.number = saved.number
        self._adopt(key, entry, saved.token, saved.lifetime)
        return saved.token if self._now() < entry.good_until else None


async def _ask(key: TokenKey, host: TokenHost, previous: Token | None) -> Token | Exception:
    try:
        # A type checker may not have looked at a class of the user's own.
        token = cast("object", await key.auth.fetch(host, previous))
    except Exception as error:  # noqa: BLE001 - handed as it is to those who wait
        return copy_error(error)
    if isinstance(token, Token):
        return token
    kind = type(key.auth).__name__
    return TypeError(f"{kind}.fetch must return a Token, not {type(token).__name__}")

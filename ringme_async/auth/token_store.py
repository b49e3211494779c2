"""The token store: one token for each key, fetched in single flight, renewed in time, bounded."""

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
"""Seconds for which a refusal is remembered, so that bad credentials make one login."""

CREDIT = 20
"""New tokens in a row that the API must refuse before once good credentials count as bad."""

LARGEST_MARGIN = 0.1
"""The largest margin, as a part of the token's lifetime."""

_CLOSED = "the RingMe that these tokens were kept for was closed"
_EVICTION_DIVISOR = 1_000


class TokenStore:
    """Keeps a token for each key, and fetches a new one when it is due.

    A token is due ``margin`` seconds before it expires, or a tenth of its lifetime if that is
    less. Jitter delays this a little, so that tokens of one age are not due at once. The first
    caller after that fetches a new token, and all callers wait for it. Nothing is fetched in the
    background.

    All callers of one key share one token request. It runs in its own task, without a caller's
    deadline. When the last caller leaves, the request is cancelled, with two exceptions. The
    trade-in of a refresh token goes on. So does a pause that the host asked for: a new request
    would not know of it. A refusal (``TokenError``) is remembered for 60 seconds, other
    failures are not. One store may serve several loops in turn, but not at once.

    A trade-in runs to its end: the server may have replaced the refresh token already, and sends
    the new one only once. A time-out of the caller, ``aclose``, Ctrl-C and the end of
    ``asyncio.run`` wait for an answer that is on its way. They wait until the request's own
    time-out (``Timeouts.attempt``), for a minute at most.

    With a path, tokens outlive the process, and several processes may share the file. It has mode
    0600 and must not be open to others. It holds tokens, but only hashes of credentials. A new
    refresh token is written before it is used. Processes that share the file trade in a refresh
    token one after the other, so that none sends a spent one. A process that has waited 30 seconds
    for another fails with a ``TransportError`` that names the file. If the file cannot be read, no
    refresh token is sent. The order of arrival decides which token is newer, not a clock.

    The file is read and written in the loop's thread: a few hundred bytes at each login take less
    time than a change of threads. Once in many thousand logins the file is rewritten, within some
    tenths of a second. If it cannot be written, or read for another grant, the store logs a warning
    and works without it. Tokens of your own ``Auth`` classes are never written.

    Args:
        path: The file of tokens; its directory must exist. Default none.
        capacity: The largest number of keys. The least recently used are evicted first, a
            thousandth of them at once. A key that is being fetched stays, and so does a refresh
            token that is saved nowhere else. Default 100,000.
        margin: Seconds before its expiry from which a token is not used. Default 30.
        wall_clock: Returns the time since the epoch in seconds. Only the file needs it, because
            other processes do not share the loop's time.
        random: Returns a number from 0 to 1 for the jitter; for tests.

    Raises:
        InvalidRequest: An argument is out of range, or another user could read or replace the
            file.
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
        # The entry of the last ``ready``: most programs have one key, which needs no look-up then.
        self._latest: tuple[TokenKey | None, TokenEntry | None] = (None, None)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._entries)

    def ready(self, key: TokenKey, now: float | None = None) -> Token | None:
        """Give the key's token if it is valid now, without waiting.

        Args:
            key: The origin and the credentials.
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
        """Give the key's token, and fetch one if none is valid.

        Args:
            key: The origin and the credentials.
            endpoint: Sends the token request, if this call starts the login.
            patience: How long the caller waits; it gets the login's last error. Default for ever.

        Raises:
            TokenError: The host refused the credentials, now or less than a minute ago.
            ApiError: The token endpoint answered 408, 429 or 5xx at the last attempt.
            TransportError: The token endpoint gave no answer, or the token file cannot be used for
                a trade-in.
            DeadlineExceeded: The next attempt is later than the caller can wait.
            RingMeClosed: The store is closed.
        """
        if self._closed:
            raise RingMeClosed(_CLOSED)
        token = self.ready(key)
        if token is not None:
            return token
        entry = self._entry(key)
        login = entry.login
        if login is None:
            # Before the remembered refusal: another process may have saved a newer token.
            saved = self._load_from_file(key, entry)
            if saved is not None:
                self._evict()
                return saved
            if self._now() < entry.refused_until and entry.refusal is not None:
                remembered = copy_error(entry.refusal)
                remembered.attempts = 0
                raise remembered
            login = self._start_login(key, entry, endpoint)
        try:
            outcome = await login.wait(Patience() if patience is None else patience)
        finally:
            if login.is_abandoned:
                self._abandon(key, entry, login)
        if isinstance(outcome, Exception):
            raise copy_error(outcome)
        return outcome

    def drop(self, key: TokenKey, token: Token) -> bool:
        """Drop a token that the API refused; a newer one stays.

        Args:
            key: The token's key.
            token: The refused token; compared by identity.

        Returns:
            True if it was still in use; False if another call had dropped it before.
        """
        entry = self._entries.get(key)
        if entry is None or entry.token is not token:
            return False
        entry.token = None
        return True

    async def aclose(self) -> None:
        """End all logins and drop all tokens; further calls do nothing.

        Callers that wait for a token get a ``RingMeClosed``. A trade-in of a refresh token runs on:
        this waits for its answer and saves it, even when cancelled. It waits until the request's
        own time-out (``Timeouts.attempt``), for a minute at most.
        """
        self._closed = True
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        must_finish = self._persistence.has_unsaved or any(
            entry.login is not None and isinstance(key.auth, RefreshToken)
            for key, entry in self._entries.items()
        )
        if must_finish:
            await run_uninterrupted(self._shut_down(tasks), name="ringme end of the tokens")
        else:
            await self._shut_down(tasks)

    async def _shut_down(self, tasks: tuple[asyncio.Task[None], ...]) -> None:
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

    def _start_login(
        self, key: TokenKey, entry: TokenEntry, endpoint: TokenEndpoint
    ) -> SingleFlight:
        login = entry.login = SingleFlight()
        host = endpoint.at(key.origin, login.record_delay, login.record_send)
        is_trade_in = isinstance(key.auth, RefreshToken)
        fetch = self._trade_in_uninterrupted if is_trade_in else self._log_in
        # A new context: the first caller's would attach its trace to a login that all share.
        task = asyncio.get_running_loop().create_task(
            fetch(key, entry, login, host), name="ringme login", context=Context()
        )
        login.task = task
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._on_task_done(key, entry, login))
        self._evict()
        return login

    def _on_task_done(self, key: TokenKey, entry: TokenEntry, login: SingleFlight) -> None:
        self._tasks.discard(login.task)
        # A task that is cancelled before its first step never runs its own ``finally``.
        self._finish_login(key, entry, login, None)
        if not login.task.cancelled():
            # Mark it as retrieved: only KeyboardInterrupt and SystemExit get here, and asyncio
            # has already raised them in the loop.
            login.task.exception()

    async def _log_in(
        self, key: TokenKey, entry: TokenEntry, login: SingleFlight, host: TokenHost
    ) -> None:
        outcome: Token | Exception | None = None
        try:
            outcome = await _fetch_token(key, host, entry.newest)
        finally:
            self._finish_login(key, entry, login, outcome)
        await self._persistence.save()

    async def _trade_in_uninterrupted(
        self, key: TokenKey, entry: TokenEntry, login: SingleFlight, host: TokenHost
    ) -> None:
        await run_uninterrupted(
            self._trade_in(key, entry, login, host),
            name="ringme trade-in",
            on_cancel=login.cancel_when_safe,
        )

    async def _trade_in(
        self, key: TokenKey, entry: TokenEntry, login: SingleFlight, host: TokenHost
    ) -> None:
        outcome: Token | Exception | None = None
        try:
            async with self._persistence.trade_in_lock(key, login.record_delay):
                outcome = await self._trade_in_locked(key, entry, host)
        except TransportError as error:
            outcome = error
        finally:
            self._finish_login(key, entry, login, outcome)
        await self._persistence.wait_until_saved(key)

    async def _trade_in_locked(
        self, key: TokenKey, entry: TokenEntry, host: TokenHost
    ) -> Token | Exception:
        while True:
            saved = self._load_from_file(key, entry)
            if saved is not None:
                return saved
            spent = entry.newest
            outcome = await _fetch_token(key, host, spent)
            if isinstance(outcome, Token):
                entry.number = self._persistence.keep(key, outcome, entry.number)
                try:
                    # Save before use: a crash between the two would lose a token already in use.
                    await self._persistence.save()
                finally:
                    self._set_token(key, entry, outcome, lifetime=None)
                return outcome
            if not isinstance(outcome, TokenError):
                return outcome
            saved = self._load_from_file(key, entry)
            if saved is not None or entry.newest is spent:
                return outcome if saved is None else saved

    def _finish_login(
        self,
        key: TokenKey,
        entry: TokenEntry,
        login: SingleFlight,
        outcome: Token | Exception | None,
    ) -> None:
        if login.outcome is not None:
            return
        if outcome is None:
            outcome = self._cancellation_error()
        if entry.login is login:
            entry.login = None
            if isinstance(outcome, Token):
                if entry.newest is not outcome:
                    self._set_token(key, entry, outcome, lifetime=None)
                    entry.number = self._persistence.keep(key, outcome, entry.number)
            elif isinstance(outcome, TokenError):
                entry.refusal = outcome
                entry.refused_until = self._now() + REFUSAL_REMEMBERED
            self._evict()
        login.set_outcome(self._cancellation_error() if self._closed else outcome)

    def _set_token(
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
            not self._persistence.has_file
            and isinstance(key.auth, RefreshToken)
            and token.refresh_token != key.auth.refresh_token
        )

    def _abandon(self, key: TokenKey, entry: TokenEntry, login: SingleFlight) -> None:
        if isinstance(key.auth, RefreshToken):
            return
        entry.login = None
        login.task.cancel()

    def _cancellation_error(self) -> Exception:
        return RingMeClosed(_CLOSED) if self._closed else TransportError("the login was cancelled")

    def _evict(self) -> None:
        excess = len(self._entries) - self._capacity
        if excess <= 0:
            return
        idle = (key for key, entry in self._entries.items() if not entry.in_use)
        # In batches, because each search for idle entries walks past those in use.
        for key in list(islice(idle, excess + self._capacity // _EVICTION_DIVISOR)):
            del self._entries[key]
            self._latest = None, None

    def _load_from_file(self, key: TokenKey, entry: TokenEntry) -> Token | None:
        """Use the file's token if it is newer; return it if it is valid now."""
        saved = self._persistence.newer(key, entry.newest, entry.number)
        if saved is None:
            return None
        entry.number = saved.number
        self._set_token(key, entry, saved.token, saved.lifetime)
        return saved.token if self._now() < entry.good_until else None


async def _fetch_token(key: TokenKey, host: TokenHost, previous: Token | None) -> Token | Exception:
    try:
        # The user's class may not have been type-checked, so check its result.
        token = cast("object", await key.auth.fetch(host, previous))
    except Exception as error:  # noqa: BLE001 - the waiters raise it
        return copy_error(error)
    if isinstance(token, Token):
        return token
    kind = type(key.auth).__name__
    return TypeError(f"{kind}.fetch must return a Token, not {type(token).__name__}")

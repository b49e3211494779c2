"""A store's tokens in its file: from the loop's time to the calendar's, and one trade-in at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from attrs import frozen

from ringme_async.auth.credentials import RefreshToken, TokenKey, file_key
from ringme_async.auth.private_file import FileLock
from ringme_async.auth.token import Token
from ringme_async.auth.token_file import TokenFile
from ringme_async.errors import InvalidRequest, RingMeError, TransportError

__all__ = ["Restored", "TokenPersistence"]

LONGEST_TURN = 30.0
"""Seconds for which a trade-in waits for that of another process."""

_LOCK_TRIES = 100
_LOCK_PAUSE = 0.02
_TRY_AGAIN = 5.0

_log = logging.getLogger("ringme_async.auth")


@frozen
class Restored:
    """A token from the file, in this loop's time.

    Args:
        token: The token.
        lifetime: How many seconds it had when it came; None if nobody knows.
        number: Its place among the tokens of its key.
    """

    token: Token
    lifetime: float | None
    number: int


class TokenPersistence:
    """Keeps the tokens of one store in a file that other processes use, too.

    Args:
        file: The file; None if there is none, and then nothing is kept.
    """

    def __init__(self, file: TokenFile | None) -> None:
        self._file = file
        # Of trade-ins whose outcome is not in the file: the token there is spent.
        self._unsettled: dict[str, FileLock] = {}

    @property
    def lasts(self) -> bool:
        """Is there a file?"""
        return self._file is not None

    @property
    def owes(self) -> bool:
        """Is a refresh token not in the file yet?"""
        return bool(self._unsettled)

    def newer(self, key: TokenKey, known: Token | None, number: int) -> Restored | None:
        """Find a token in the file that came after the one that the store knows.

        Args:
            key: Whose token.
            known: The newest that the store knows.
            number: The number of that one.
        """
        name = file_key(key)
        if self._file is None or name is None:
            return None
        saved = self._file.newest(name)
        if saved is None or saved.number < number:
            return None
        if known and (known.value, known.refresh_token) == (saved.value, saved.refresh_token):
            return None
        remaining = self._file.remaining(saved)
        expires_at = None if remaining is None else _now() + remaining
        token = Token(saved.value, expires_at, saved.refresh_token)
        return Restored(token, saved.lifetime, saved.number)

    def keep(self, key: TokenKey, token: Token, number: int) -> int:
        """Note a token that has just come, to be written with the next ``save``.

        Args:
            key: Whose token.
            token: The token.
            number: The number of the key's token before this one.

        Returns:
            Its own number.
        """
        name = file_key(key)
        if self._file is None or name is None:
            return number + 1
        remaining = None if token.expires_at is None else token.expires_at - _now()
        refresh_token = token.refresh_token if isinstance(key.auth, RefreshToken) else None
        return self._file.keep(name, token.value, remaining, refresh_token, after=number)

    async def save(self) -> None:
        """Write what is noted, as soon as no other process is writing.

        What fails, or has to wait for too long, is logged and tried again with the next token.
        """
        if self._file is None:
            return
        for _ in range(_LOCK_TRIES):
            if self._file.write():
                break
            await asyncio.sleep(_LOCK_PAUSE)
        else:
            _log.warning(
                "Another process holds the token file's lock; tokens wait for the next login"
            )
        for name in [name for name in self._unsettled if not self._file.is_unsaved(name)]:
            self._unsettled.pop(name).release()

    async def settle(self, key: TokenKey) -> None:
        """Try again and again until the key's refresh token is in the file."""
        name = file_key(key)
        while name in self._unsettled:
            await asyncio.sleep(_TRY_AGAIN)
            await self.save()

    async def aclose(self) -> None:
        """Write what is noted, and give back all locks."""
        await self.save()
        if self._unsettled:
            _log.error(
                "The newest refresh tokens of %d logins could not be written to %s and are lost",
                len(self._unsettled),
                self._file,
            )
        while self._unsettled:
            self._unsettled.popitem()[1].release()

    @asynccontextmanager
    async def turn(
        self, key: TokenKey, on_wait: Callable[[RingMeError, float], None]
    ) -> AsyncGenerator[None, None]:
        """Hold the lock under which a key's refresh token may be traded in.

        At the end it stays held if the outcome could not be written: another process would find
        the spent token in the file, and send it.

        Args:
            key: Whose refresh token.
            on_wait: Told, if another process holds the lock, with what this fails in the end.

        Raises:
            TransportError: Another process held the lock for too long, or the file cannot be used.
        """
        name = file_key(key)
        if self._file is None or name is None:
            yield
            return
        lock = self._unsettled.pop(name, None) or self._file.lock_of(name)
        try:
            await _acquire(lock, self._file, on_wait)
            yield
        finally:
            if self._file.is_unsaved(name):
                self._unsettled[name] = lock
            else:
                lock.release()


async def _acquire(
    lock: FileLock, file: TokenFile, on_wait: Callable[[RingMeError, float], None]
) -> None:
    give_up_at: float | None = None
    while not _is_ours(lock, file):
        if give_up_at is None:
            give_up_at = _now() + LONGEST_TURN
            on_wait(_held_up(file), 0.0)
        elif _now() >= give_up_at:
            raise _held_up(file)
        await asyncio.sleep(_LOCK_PAUSE)


def _is_ours(lock: FileLock, file: TokenFile) -> bool:
    try:
        ours = lock.acquire()
        if ours:
            # What is known from here on is what the last holder has written.
            file.catch_up()
    except (OSError, InvalidRequest) as error:
        raise TransportError(
            f"the token file {file} cannot be used ({error});"
            " the refresh token is not sent, as it may be spent",
            sent=False,
        ) from None
    return ours


def _held_up(file: TokenFile) -> TransportError:
    return TransportError(
        f"another process is trading in the refresh token of this login in {file},"
        f" and has not ended within {LONGEST_TURN:g} s",
        sent=False,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()

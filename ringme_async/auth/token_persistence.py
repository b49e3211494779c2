"""Saves a store's tokens in its file, and lets one process at a time trade in a refresh token."""

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

LONGEST_LOCK_WAIT = 30.0
"""Seconds for which a trade-in waits while another process holds the lock."""

_LOCK_TRIES = 100
_LOCK_PAUSE = 0.02
_SAVE_INTERVAL = 5.0

_log = logging.getLogger("ringme_async.auth")


@frozen
class Restored:
    """A token from the file, converted to this loop's time.

    Args:
        token: The token.
        lifetime: Its lifetime in seconds on arrival; None if unknown.
        number: Its sequence number among the tokens of its key.
    """

    token: Token
    lifetime: float | None
    number: int


class TokenPersistence:
    """Saves the tokens of one store in a file that it shares with other processes.

    Args:
        file: The file; None if there is none, and then nothing is saved.
    """

    def __init__(self, file: TokenFile | None) -> None:
        self._file = file
        # Held while a new refresh token is not in the file: the token there is spent.
        self._unsaved_locks: dict[str, FileLock] = {}

    @property
    def has_file(self) -> bool:
        """True if there is a file."""
        return self._file is not None

    @property
    def has_unsaved(self) -> bool:
        """True if a new refresh token is not in the file yet."""
        return bool(self._unsaved_locks)

    def newer(self, key: TokenKey, known: Token | None, number: int) -> Restored | None:
        """Find a token in the file that is newer than the store's.

        Args:
            key: The token's key.
            known: The newest token in the store.
            number: Its sequence number.
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
        """Keep a new token in memory until the next ``save`` writes it.

        Args:
            key: The token's key.
            token: The token.
            number: The sequence number of the key's previous token.

        Returns:
            The sequence number of this token.
        """
        name = file_key(key)
        if self._file is None or name is None:
            return number + 1
        remaining = None if token.expires_at is None else token.expires_at - _now()
        refresh_token = token.refresh_token if isinstance(key.auth, RefreshToken) else None
        return self._file.keep(name, token.value, remaining, refresh_token, after=number)

    async def save(self) -> None:
        """Write unsaved tokens, as soon as no other process is writing.

        A failure or a long wait for the lock is logged; the next token retries the write.
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
        for name in [name for name in self._unsaved_locks if not self._file.is_unsaved(name)]:
            self._unsaved_locks.pop(name).release()

    async def wait_until_saved(self, key: TokenKey) -> None:
        """Retry the write until the key's refresh token is in the file."""
        name = file_key(key)
        while name in self._unsaved_locks:
            await asyncio.sleep(_SAVE_INTERVAL)
            await self.save()

    async def aclose(self) -> None:
        """Write unsaved tokens, and release all locks."""
        await self.save()
        if self._unsaved_locks:
            _log.error(
                "The newest refresh tokens of %d logins could not be written to %s and are lost",
                len(self._unsaved_locks),
                self._file,
            )
        while self._unsaved_locks:
            self._unsaved_locks.popitem()[1].release()

    @asynccontextmanager
    async def trade_in_lock(
        self, key: TokenKey, on_wait: Callable[[RingMeError, float], None]
    ) -> AsyncGenerator[None, None]:
        """Hold the lock for a trade-in of a key's refresh token.

        If the new token cannot be written, the lock stays held afterwards. Otherwise another
        process would find the spent token in the file, and send it.

        Args:
            key: The refresh token's key.
            on_wait: Called while another process holds the lock, with the error of a final
                failure and a delay of 0.

        Raises:
            TransportError: Another process held the lock for too long, or the file cannot be used.
        """
        name = file_key(key)
        if self._file is None or name is None:
            yield
            return
        lock = self._unsaved_locks.pop(name, None) or self._file.lock_of(name)
        try:
            await _acquire(lock, self._file, on_wait)
            yield
        finally:
            if self._file.is_unsaved(name):
                self._unsaved_locks[name] = lock
            else:
                lock.release()


async def _acquire(
    lock: FileLock, file: TokenFile, on_wait: Callable[[RingMeError, float], None]
) -> None:
    give_up_at: float | None = None
    while not _try_acquire(lock, file):
        if give_up_at is None:
            give_up_at = _now() + LONGEST_LOCK_WAIT
            on_wait(_lock_wait_error(file), 0.0)
        elif _now() >= give_up_at:
            raise _lock_wait_error(file)
        await asyncio.sleep(_LOCK_PAUSE)


def _try_acquire(lock: FileLock, file: TokenFile) -> bool:
    try:
        acquired = lock.acquire()
        if acquired:
            # Under the lock, so that the token of the last holder is read.
            file.catch_up()
    except (OSError, InvalidRequest) as error:
        raise TransportError(
            f"the token file {file} cannot be used ({error});"
            " the refresh token is not sent, as it may be spent",
            sent=False,
        ) from None
    return acquired


def _lock_wait_error(file: TokenFile) -> TransportError:
    return TransportError(
        f"another process is trading in the refresh token of this login in {file},"
        f" and has not ended within {LONGEST_LOCK_WAIT:g} s",
        sent=False,
    )


def _now() -> float:
    return asyncio.get_running_loop().time()

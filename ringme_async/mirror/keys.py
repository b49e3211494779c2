"""The key of a tenant in the output: its name."""

from __future__ import annotations

from collections.abc import Iterable

from ringme_async import InvalidRequest, Tenant, Who

__all__ = ["add_new", "checked_key", "key_of", "refuse_repeated"]


def key_of(who: Who) -> str:
    """Return a tenant's key in the output: its name, else its client id.

    Raises:
        InvalidRequest: This is not a tenant, or no file or database can hold its name.
    """
    if isinstance(who, Tenant):
        key = str(who.client_id) if who.name is None else who.name
    elif type(who) in {int, str}:
        key = str(who)
    else:
        raise InvalidRequest(f"a tenant is a client id or a Tenant, not a {type(who).__name__}")
    return checked_key(key)


def checked_key(key: str) -> str:
    """Check that every kind of output can hold a key.

    Raises:
        InvalidRequest: The key is empty, or no file or database can hold it.
    """
    if not key or "\0" in key or not _is_text(key):
        raise InvalidRequest(f"a tenant cannot be called {key!r:.100} in the output of a run")
    return key


def add_new(key: str, known: set[str]) -> None:
    """Add a key that is not known yet.

    Raises:
        InvalidRequest: The key is known.
    """
    if key in known:
        raise InvalidRequest(
            f"two tenants are called {key!r:.100}; the output needs a name of its own for each"
        )
    known.add(key)


def refuse_repeated(tenants: Iterable[Who]) -> None:
    """Check that all tenants have a key, and different ones.

    Raises:
        InvalidRequest: Two tenants share a key, or one has none.
    """
    known: set[str] = set()
    for who in tenants:
        add_new(key_of(who), known)


def _is_text(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True

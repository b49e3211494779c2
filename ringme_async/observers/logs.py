"""Logs the SDK's events with the standard library."""

from __future__ import annotations

import logging

from ringme_async import (
    AttemptEnded,
    AttemptSent,
    CallEnded,
    CallStarted,
    Event,
    Parked,
    RetryScheduled,
    TokenFetched,
    Woken,
)

__all__ = ["LoggingObserver"]

_calls = logging.getLogger("ringme_async.calls")
_quota = logging.getLogger("ringme_async.quota")
_retries = logging.getLogger("ringme_async.retries")
_tokens = logging.getLogger("ringme_async.tokens")


class LoggingObserver:
    """Logs events: retries and waits for quota at INFO, calls, attempts and logins at DEBUG.

    The loggers are ``ringme_async.retries``, ``ringme_async.quota``, ``ringme_async.calls`` and
    ``ringme_async.tokens``. No line holds a body, a token, a secret or a query string. Lines of a
    call hold its path, and with it the client's id.
    """

    __slots__ = ()

    def __call__(self, event: Event) -> None:
        """Log one event."""
        match event:
            case RetryScheduled() | Parked() | Woken():
                _log_wait(event)
            case AttemptSent() | AttemptEnded():
                if _calls.isEnabledFor(logging.DEBUG):
                    _log_attempt(event)
            case CallStarted() | CallEnded():
                if _calls.isEnabledFor(logging.DEBUG):
                    _log_call(event)
            case _:
                _log_token(event)


def _log_wait(event: RetryScheduled | Parked | Woken) -> None:
    match event:
        case RetryScheduled():
            _retries.info(
                "call %d: %s: %s at attempt %d, again in %.2f s",
                event.call,
                event.path,
                event.error_type,
                event.attempt,
                event.delay,
            )
        case Parked(client_id=client_id, delay=delay):
            _quota.info("%s waits %.0f s for its quota", _client_label(client_id), delay)
        case _:
            _quota.info("%s goes on", _client_label(event.client_id))


def _log_token(event: TokenFetched) -> None:
    _tokens.debug("%s gave a token for %s in %.3f s", event.host, event.grant, event.seconds)


def _log_attempt(event: AttemptSent | AttemptEnded) -> None:
    where = (event.call, event.method, event.host, event.path)
    if isinstance(event, AttemptSent):
        _calls.debug("call %d: %s %s %s, attempt %d", *where, event.attempt)
        return
    status = event.status_code
    ended = " ".join(str(word) for word in (status, event.error_type) if word is not None)
    _calls.debug(
        "call %d: %s %s %s, attempt %d: %s in %.3f s", *where, event.attempt, ended, event.seconds
    )


def _log_call(event: CallStarted | CallEnded) -> None:
    if isinstance(event, CallStarted):
        _calls.debug("call %d: %s %s", event.call, event.method, event.path)
        return
    _calls.debug(
        "call %d: %s %s: %s after %d %s and %.3f s",
        event.call,
        event.method,
        event.path,
        event.error_type or "done",
        event.attempts,
        "attempt" if event.attempts == 1 else "attempts",
        event.seconds,
    )


def _client_label(client_id: str | None) -> str:
    return "a call" if client_id is None else f"client {client_id}"

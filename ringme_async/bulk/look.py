"""A look at a run from outside, at any moment."""

from __future__ import annotations

from typing import Any

from ringme_async.bulk.progress import Progress, estimate
from ringme_async.bulk.stock import Stock

__all__ = ["progress_of"]


def progress_of(stock: Stock[Any], now: float) -> Progress:
    """Look how far a run is at this moment."""
    tally, schedule, intake, running = stock.tally, stock.schedule, stock.intake, stock.running
    per_second = stock.pace.per_second(now, tally.finished)
    parked_until = schedule.parked_until
    until_wake = None if parked_until is None else max(0.0, parked_until - now)
    left = None if intake.total is None else max(0, intake.total - tally.finished)
    return Progress(
        total=intake.total,
        pulled=intake.pulled,
        done=tally.done,
        failed=tally.failed,
        not_attempted=tally.not_attempted,
        parked=schedule.parked,
        parked_until=parked_until,
        waiting=stock.held - schedule.parked,
        waiting_for_quota=schedule.waiting_for_quota,
        in_flight=stock.in_flight,
        waiting_for_login=sum(ticket.job.waiting_for_login for ticket in running),
        retried=tally.retried
        + sum(ticket.job.retries for ticket in running if not ticket.is_probe),
        hosts_down=stock.suspects.hosts_down,
        input_blocked=stock.is_blocked,
        unread=stock.outbox.unread,
        concurrency=schedule.limit.value,
        per_second=per_second,
        eta=estimate(left, per_second, until_wake, idle=not running),
    )

"""The contenders, one file each, and the table of all of them."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from attrs import frozen

from benchmarks.work import Opened

EVERY_VERB = ("GET", "GET gzip", "PUT")


@frozen
class Contender:
    """One line of the table.

    ``share`` is its part of the requests, so that a slow contender does not delay the race.
    """

    name: str
    where: str
    verbs: tuple[str, ...] = ("GET",)
    uvloop: bool = False
    share: float = 1.0

    @property
    def label(self) -> str:
        """Its name, with the event loop unless that is asyncio's."""
        return f"{self.name}, uvloop" if self.uvloop else self.name

    def load(self) -> Opened:
        """Import this contender alone, so that no other one costs memory or time."""
        module, _, function = self.where.partition(":")
        return cast("Opened", getattr(import_module(f"{__name__}.{module}"), function))


PLAIN = Contender("plain aiohttp", "plain:opened", EVERY_VERB)

CONTENDERS = (
    Contender("the limit: bytes over a Protocol", "limit:opened", EVERY_VERB),
    PLAIN,
    Contender("plain aiohttp", "plain:opened", EVERY_VERB, uvloop=True),
    Contender("what users write: cattrs, gather", "users:opened", EVERY_VERB),
    Contender("aiohttp-retry", "aiohttp_retry:opened", share=0.5),
    Contender("gidgethub", "gidgethub:opened", share=0.5),
    Contender("httpx", "httpx:opened", share=0.1),
    Contender("RingMe, in bulk", "sdk:many_over_aiohttp", EVERY_VERB),
    Contender("RingMe, in bulk", "sdk:many_over_aiohttp", EVERY_VERB, uvloop=True),
    Contender("RingMe, by workers", "sdk:single_over_aiohttp", EVERY_VERB),
    Contender("RingMe, in bulk, logging", "sdk:many_logged"),
    Contender("RingMe [fast], in bulk", "sdk:many_over_httptools", EVERY_VERB),
    Contender("RingMe [fast], in bulk", "sdk:many_over_httptools", EVERY_VERB, uvloop=True),
    Contender("RingMe [fast], by workers", "sdk:single_over_httptools", EVERY_VERB),
)

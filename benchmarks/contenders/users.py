"""A user's own client: ``resp.json()``, cattrs, a semaphore and ``gather``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import cattrs
from attrs import define

from benchmarks.work import CHANGE, TOKEN, Go, Work


@define
class Client:
    """The record, written by hand."""

    id: int
    name: str | None = None
    prefix: str | None = None
    domain: str | None = None
    domain_prefix: str | None = None
    type: str | None = None
    email: str | None = None
    create_date: str | None = None
    contact_phones: str | None = None
    fact_address: str | None = None
    jur_address: str | None = None
    hold_music: Any = None
    timezone: str | None = None
    language: str | None = None
    extension_len: int | None = None
    dial_rule_id: int | None = None
    sip_network_permission_id: int | None = None
    did_as_transfer_caller_id: str | None = None
    short_local_caller_id: str | None = None
    reg_status_log: bool | None = None
    presence: str | None = None
    ambassadors: Any = None
    record_stereo: bool | None = None
    record_format: str | None = None
    disk_space_notify_email: str | None = None
    disk_space_notify_threshold: int | None = None
    geo_list: str | None = None
    extra_params: Any = None


@asynccontextmanager
async def opened(work: Work) -> AsyncIterator[Go]:
    """Open a session with default settings."""
    converter = cattrs.Converter()
    gate = asyncio.Semaphore(work.concurrency)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:

        async def get(number: int) -> Client:
            async with gate, session.get(work.url(number)) as answer:
                answer.raise_for_status()
                return converter.structure(await answer.json(), Client)

        async def put(number: int) -> Client:
            async with gate, session.put(work.url(number), json=CHANGE) as answer:
                answer.raise_for_status()
                return converter.structure(await answer.json(), Client)

        one = get if work.method == "GET" else put

        async def go(count: int) -> int:
            return len(await asyncio.gather(*(one(number) for number in range(1, count + 1))))

        yield go

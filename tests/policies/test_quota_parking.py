"""Bulk runs wait for quota outside of their slots, and outside of each item's timeout."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async import (
    BulkReport,
    Client,
    ClientCredentials,
    DeadlineExceeded,
    Done,
    Failed,
    LoginLimit,
    Request,
    Response,
    RingMe,
    Tenant,
)
from tests.jumping_loop import JumpingLoop
from tests.scripted import RECORD, refusal, token

HERE = "https://pbx.example.com"
HOUR = 3600.0

Stalls = Callable[[int], bool]


def now() -> float:
    return asyncio.get_running_loop().time()


@define
class Office:
    """Counts the requests of each token by the hour. Some clients never get an answer.

    A stalled request is counted either at once or never: a proxy may hold it before the server.
    """

    ceiling: int
    stalls: Stalls
    latency: Callable[[], float] = lambda: 0.1
    counts_stalled: bool = False
    login_takes: float = 0.1
    fails: Callable[[], bool] = lambda: False
    served: Counter[tuple[str, int]] = field(factory=Counter[tuple[str, int]])
    refused: int = 0
    in_flight: int = 0
    started: dict[int, float] = field(factory=dict)

    async def send(self, request: Request) -> Response:
        if request.url.endswith("/oauth/token"):
            await asyncio.sleep(self.login_takes)
            app = request.body.decode().partition("client_id=")[2].partition("&")[0]
            return token(f"token-of-{app}", expires_in=10**6)
        client = int(request.url.split("/")[-3])
        self.started.setdefault(client, now())
        who = request.headers["authorization"]
        hour = int(now() // HOUR)
        if self.stalls(client):
            if self.counts_stalled:
                self.served[who, hour] += 1
            await asyncio.sleep(10 * HOUR)
        await asyncio.sleep(self.latency())
        return await self.answer(client, who)

    async def answer(self, client: int, who: str) -> Response:
        hour = int(now() // HOUR)
        if self.served[who, hour] >= self.ceiling:
            self.refused += 1
            return refusal(429, "rate_limit_exceeded", **self.counters(who, hour))
        self.served[who, hour] += 1
        headers = {k.replace("_", "-"): v for k, v in self.counters(who, hour).items()}
        await asyncio.sleep(self.latency())
        if self.fails():
            return refusal(503, **self.counters(who, hour))
        return Response(200, headers, json.dumps(RECORD | {"id": client}).encode())

    def counters(self, who: str, hour: int) -> dict[str, str]:
        return {
            "X_RateLimit_Limit": str(self.ceiling),
            "X_RateLimit_Remaining": str(max(0, self.ceiling - self.served[who, hour])),
            "X_RateLimit_Reset": str(int((hour + 1) * HOUR - now()) + 1),
        }

    async def aclose(self) -> None:
        pass


def tenant(number: int, apps: int = 1) -> Tenant:
    return Tenant(number, auth=ClientCredentials(f"app-{number % apps}", "s3cret"))


def opened(office: Office) -> RingMe:
    return RingMe(HERE, transport=office, login_limit=LoginLimit(per_second=1000, concurrent=1000))


def unsent(report: BulkReport[Client]) -> list[Failed]:
    """Give what failed by its deadline without one request."""
    return [
        outcome
        for outcome in report.failures
        if isinstance(outcome, Failed)
        and isinstance(outcome.error, DeadlineExceeded)
        and not outcome.attempts
    ]


@pytest.mark.jumping
class TestAStalledTenant:
    @pytest.mark.parametrize("on_quota", ["park", "fail"])
    @pytest.mark.parametrize("place", [1, 50, 101])
    async def test_with_the_last_request_of_the_hour_delays_neighbours_and_fails_none(
        self, place: int, on_quota: str
    ) -> None:
        office = Office(101, lambda client: client == place)
        async with opened(office) as ringme:
            report = await ringme.clients.get_many(
                [tenant(n) for n in range(1, 301)],
                timeout=20,
                on_quota=on_quota,  # type: ignore[arg-type]
                on_outage="fail",
            )

        assert not unsent(report)
        if on_quota == "park":
            assert [outcome.index for outcome in report.failures] == [place - 1]
        else:
            kinds = Counter(type(outcome.error).__name__ for outcome in report.failures)  # type: ignore[union-attr]
            assert kinds == {"DeadlineExceeded": 1, "RateLimited": 199}
        assert office.refused == 0

    async def test_leaves_the_slots_to_others_while_its_neighbours_wait_for_quota(self) -> None:
        office = Office(3, lambda client: client == 2)
        crowd = [tenant(n, apps=2) for n in range(2, 202, 2)]
        other = [tenant(n, apps=2) for n in (1, 3, 5)]
        async with (
            opened(office) as ringme,
            ringme.clients.get_many([*crowd, *other], concurrency=8) as run,
        ):
            first = [await anext(aiter(run)) for _ in range(5)]
            await asyncio.sleep(1)
            progress = run.progress

        assert {outcome.who for outcome in first} >= set(other)
        assert progress.in_flight == 1
        assert progress.waiting_for_quota == progress.waiting > 90
        assert progress.held_by == "quota"

    async def test_as_the_probe_of_an_hour_does_not_stop_its_neighbours(self) -> None:
        office = Office(100, lambda client: client == 1)
        async with opened(office) as ringme:
            report = await ringme.clients.get_many(
                [tenant(n) for n in range(1, 51)], concurrency=50, timeout=20, on_outage="fail"
            )

        assert [outcome.index for outcome in report.failures] == [0]
        assert office.started[2] == pytest.approx(1.1, abs=0.2)


@pytest.mark.jumping
async def test_jobs_of_one_credential_leave_the_slots_to_others_while_it_logs_in() -> None:
    office = Office(1000, lambda _: False, login_takes=20.0)
    async with (
        opened(office) as ringme,
        ringme.clients.get_many([tenant(n) for n in range(1, 101)], concurrency=64) as run,
    ):
        await asyncio.sleep(0.5)
        assert run.progress.in_flight == 1
        assert run.progress.waiting_for_quota == run.progress.waiting
        outcomes = [outcome async for outcome in run]

    assert all(outcome.ok for outcome in outcomes)


@pytest.mark.jumping
async def test_a_retry_that_waits_for_quota_is_not_cut_off_by_that_wait() -> None:
    answers = iter([True])
    # The stalled client comes second and holds the last request for longer than the first has.
    office = Office(2, lambda client: client == 2, fails=lambda: next(answers, False))
    async with opened(office) as ringme:
        report = await ringme.clients.get_many([tenant(1), tenant(2)], timeout=20, on_outage="fail")

    assert [outcome.index for outcome in report.failures] == [1]
    assert report[0].attempts == 2
    assert office.refused == 0


@pytest.mark.jumping
async def test_a_single_call_waits_for_quota_within_its_deadline() -> None:
    office = Office(2, lambda client: client == 2)
    async with opened(office) as ringme:
        await ringme.clients.get(tenant(1))
        stalled = asyncio.ensure_future(ringme.clients.get(tenant(2)))
        await asyncio.sleep(1)
        began = now()
        with pytest.raises(DeadlineExceeded):
            await ringme.clients.get(tenant(3), timeout=5)
        stalled.cancel()

    assert now() == pytest.approx(began + 5)


async def play(
    source: random.Random,
    *,
    ceiling: int,
    tenants: int,
    apps: int,
    concurrency: int,
    timeout: float,
    stalled: float,
    failing: float,
) -> tuple[Office, BulkReport[Client]]:
    dead = {n for n in range(1, tenants + 1) if source.random() < stalled}
    office = Office(
        ceiling,
        dead.__contains__,
        latency=lambda: source.uniform(0.0, 0.2),
        login_takes=source.choice([0.1, 3.0]),
        fails=lambda: source.random() < failing,
    )
    async with opened(office) as ringme:
        report = await ringme.clients.get_many(
            [tenant(n, apps) for n in range(1, tenants + 1)],
            concurrency=concurrency,
            timeout=timeout,
            on_outage="fail",
        )
    return office, report


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    ceiling=st.integers(3, 120),
    tenants=st.integers(1, 200),
    apps=st.sampled_from([1, 1, 2, 5]),
    concurrency=st.integers(1, 256),
    timeout=st.sampled_from([5.0, 20.0, 60.0]),
    stalled=st.sampled_from([0.0, 0.01, 0.1]),
    failing=st.sampled_from([0.0, 0.1]),
)
def test_healthy_neighbours_of_stalled_tenants_are_all_done(
    seed: int,
    ceiling: int,
    tenants: int,
    apps: int,
    concurrency: int,
    timeout: float,
    stalled: float,
    failing: float,
) -> None:
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        office, report = runner.run(
            play(
                random.Random(seed),
                ceiling=ceiling,
                tenants=tenants,
                apps=apps,
                concurrency=concurrency,
                timeout=timeout,
                stalled=stalled,
                failing=failing,
            )
        )

    assert len(report) == tenants
    assert not unsent(report)
    for outcome in report:
        if not office.stalls(outcome.index + 1) and not isinstance(outcome, Done):
            # Four failures by chance, or the pauses between them, are its own.
            assert isinstance(outcome, Failed)
            assert outcome.attempts >= 2
            assert failing
    assert office.refused == 0
    hours = sorted(hour for _, hour in office.served)
    if not stalled:
        for app in range(apps):
            who = f"Bearer token-of-app-{app}"
            served = [office.served[who, hour] for hour in range(hours[0], hours[-1] + 1)]
            used = [count for count in served if count]
            assert all(count == ceiling for count in used[:-1])

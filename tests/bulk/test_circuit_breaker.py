"""The circuit breaker of one host by itself: its action for each failure."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field

from ringme_async.bulk.adaptive_limit import CapacityLimit
from ringme_async.bulk.circuit_breaker import Action, CircuitBreaker, State
from ringme_async.bulk.failure_row import FailureRow
from ringme_async.bulk.groups import CredentialGroup, HostGroup, HostQueue, QueuedJob, TenantGroup
from ringme_async.bulk.outcome import Failed
from ringme_async.errors import ConnectError, RingMeError, ServerError


@define(eq=False)
class Bench:
    """A breaker, and jobs of its host that end as a test says."""

    breaker: CircuitBreaker[Any] = field(factory=CircuitBreaker[Any])
    made: int = 0

    def queued(self, tenant: object = None, *, is_probe: bool = False) -> QueuedJob[Any]:
        limit, hosts = CapacityLimit(8), HostQueue[Any]()
        key = CredentialGroup("dealer", limit, HostGroup("host", limit, hosts, self.breaker))
        self.made += 1
        job: Any = None
        queued = QueuedJob[Any](self.made, self.made, job, is_probe=is_probe)
        queued.tenant = TenantGroup(self.made if tenant is None else tenant, key, 1)
        return queued

    def fail(
        self,
        tenant: object = None,
        *,
        started: float = 0.0,
        now: float = 0.0,
        error: RingMeError | None = None,
        queued: QueuedJob[Any] | None = None,
    ) -> Action:
        queued = queued or self.queued(tenant)
        failure = Failed(queued.who, queued.index, 1, error or ServerError("503"))
        self.breaker.record_failure(queued, failure, started)
        return self.breaker.decide(queued, started, now)

    def probe(self, *, is_probe: bool = False) -> QueuedJob[Any]:
        queued = self.queued(is_probe=is_probe)
        self.breaker.add_probe(queued)
        return queued


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    ("failures", "tenants", "state"),
    [
        (10, 5, State.SUSPECTED),
        (9, 9, State.CLOSED),
        (10, 4, State.CLOSED),
        (100, 4, State.CLOSED),
    ],
)
def test_ten_failures_of_five_tenants_raise_a_suspicion(
    bench: Bench, failures: int, tenants: int, state: State
) -> None:
    for number in range(failures):
        action = bench.fail(number % tenants)

    assert bench.breaker.state is state
    assert action is (Action.RELEASE if tenants == 4 else Action.HOLD)


def test_failures_of_jobs_that_started_before_the_last_answer_do_not_count(bench: Bench) -> None:
    bench.breaker.record_answer(bench.queued(), 5.0)
    for _ in range(20):
        bench.fail(started=4.0, now=6.0)

    assert bench.breaker.state is State.CLOSED
    assert len(bench.breaker.suspects) == 20


def test_an_answer_proves_the_failures_to_be_the_elements_own(bench: Bench) -> None:
    assert bench.breaker.record_answer(bench.queued(), 0.0) is None
    for _ in range(10):
        bench.fail()

    assert bench.breaker.record_answer(bench.queued(), 1.0) is Action.RELEASE
    assert bench.breaker.state is State.CLOSED
    assert bench.breaker.recovered_at < 0


def test_pauses_double_up_to_a_minute(bench: Bench) -> None:
    for _ in range(10):
        bench.fail()
    breaker, now, pauses = bench.breaker, 0.0, []
    breaker.record_answer(bench.queued(), 0.0)
    for _ in range(10):
        bench.fail()
    assert breaker.open(now) is Action.RETRY
    for _ in range(8):
        pauses.append(breaker.rests_until - now)
        now = breaker.rests_until
        breaker.half_open(now)
        assert bench.fail(queued=bench.probe(), started=now, now=now) is Action.RETRY
        assert breaker.is_down

    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


@pytest.mark.parametrize(("is_known", "patience"), [(True, 1_800.0), (False, 60.0)])
def test_a_host_is_given_up_after_half_an_hour_or_a_minute_of_possible_probes(
    bench: Bench, is_known: bool, patience: float
) -> None:
    breaker = bench.breaker
    if is_known:
        breaker.record_answer(bench.queued(), 0.0)
    for _ in range(10):
        bench.fail()
    now, asked = 0.0, 0.0
    breaker.open(now)
    action = Action.RETRY
    while action is Action.RETRY:
        asked += breaker.rests_until - now
        # For an hour after each rest, all credentials are parked.
        breaker.half_open(breaker.rests_until)
        now = breaker.rests_until + 3_600.0
        asked += 2.0
        action = bench.fail(queued=bench.probe(), started=now, now=now + 2.0)
        now += 2.0

    assert action is Action.GIVE_UP
    assert breaker.state is State.GIVEN_UP
    assert patience <= asked < patience + 62


def test_a_host_that_never_answered_and_refuses_is_given_up_at_once(bench: Bench) -> None:
    refused = ConnectError("refused", kind="refused")

    assert bench.fail(error=refused) is Action.CLEAR_OUT
    assert bench.fail(error=refused) is Action.CLEAR_OUT


def test_a_failed_witness_shows_that_no_tenant_can_be_served(bench: Bench) -> None:
    breaker = bench.breaker
    breaker.record_answer(bench.queued(), 0.0)
    for _ in range(10):
        bench.fail()
    witness = bench.probe(is_probe=True)
    breaker.record_witness_failure(witness, ServerError("503"), 1.0)
    assert breaker.decide(witness, 1.0, 1.0) is Action.HOLD
    breaker.open(1.0)
    breaker.half_open(1_900.0)

    late = bench.probe()

    assert bench.fail(queued=late, started=1_900.0, now=3_800.0) is Action.CLEAR_OUT


def test_a_probe_from_before_the_last_answer_is_no_evidence(bench: Bench) -> None:
    bench.breaker.record_witness_failure(bench.queued(is_probe=True), ServerError("503"), 0.0)

    assert bench.breaker.state is State.CLOSED
    assert bench.breaker.record_answer(bench.queued(), 0.0) is None


class TestProbes:
    def test_are_sent_two_at_once_without_witnesses_and_more_if_they_are_silent(
        self, bench: Bench
    ) -> None:
        for _ in range(10):
            bench.fail()
        sent = []
        for second in range(9):
            while bench.breaker.wants_probe:
                bench.probe()
                sent.append(second)
            bench.breaker.extend_if_silent()

        assert sent == [0, 0, 1, 2, 4, 8]

    def test_are_sent_one_at_a_time_to_a_host_that_is_down_and_a_second_one_if_it_is_silent(
        self, bench: Bench
    ) -> None:
        bench.breaker.open(0.0)
        bench.breaker.half_open(1.0)
        sent = []
        for second in range(30):
            while bench.breaker.wants_probe:
                bench.probe()
                sent.append(second)
            bench.breaker.extend_if_silent()

        assert sent == [0, 1]

    def test_take_turns_between_witnesses_and_fresh_tenants(self, bench: Bench) -> None:
        breaker = bench.breaker
        for tenant in ("a", "b", "b", "c", "d"):
            breaker.record_answer(bench.queued(tenant), 0.0)
        for _ in range(9):
            bench.fail()
        bench.fail("d")

        turns = []
        while breaker.wants_probe:
            turns.append(breaker.prefers_witness)
            witness = breaker.next_witness() if breaker.prefers_witness else None
            assert witness is None or witness.tenant.key in {"b", "c"}
            breaker.drop_probe(bench.probe())

        assert turns == [True, False, True, False, False]
        assert breaker.should_open


class TestTheNetwork:
    def test_is_suspected_with_every_host_that_fails_while_none_answers(self) -> None:
        network = FailureRow()
        benches = [Bench(CircuitBreaker(network)) for _ in range(10)]
        for number, bench in enumerate(benches):
            bench.fail(number)

        assert [bench.breaker.suspect_with_network() for bench in benches] == [True] * 9 + [False]
        assert {bench.breaker.state for bench in benches} == {State.SUSPECTED}
        assert not Bench(CircuitBreaker(network)).breaker.suspect_with_network()

    def test_retries_the_jobs_that_failed_with_it(self) -> None:
        network = FailureRow()
        benches = [Bench(CircuitBreaker(network)) for _ in range(10)]
        for number, bench in enumerate(benches):
            bench.fail(number)
        first, second = benches[0].breaker, benches[1].breaker

        assert first.record_answer(benches[0].queued(), 7.0) is Action.RETRY
        assert second.began_in_outage(6.9)
        assert not second.began_in_outage(7.0)

    def test_leaves_a_host_closed_that_has_few_failures_of_its_own(self) -> None:
        network = FailureRow()
        bench, other = Bench(CircuitBreaker(network)), Bench(CircuitBreaker(network))
        bench.breaker.open(0.0)
        other.breaker.record_answer(other.queued(), 0.5)
        bench.breaker.half_open(1.0)

        assert bench.fail(queued=bench.probe(), started=1.0, now=1.0) is Action.HOLD
        assert bench.breaker.state is State.CLOSED

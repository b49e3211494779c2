"""The fixtures of the pytest plugin ``pytest_ringme_async``."""

from __future__ import annotations

import asyncio
import functools
import inspect
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine, Generator, Iterable, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from random import Random
from typing import Any, Final, TypeAlias, cast

import pytest
from attrs import frozen

from ringme_async import ClientCredentials, InMemoryTransport, RetryPolicy, RingMe, TokenStore
from ringme_async.testing.clock import JumpingLoop
from ringme_async.testing.fake.accounts import FakeApplication
from ringme_async.testing.fake.fake_ringme import FakeRingMe
from ringme_async.testing.fake.fault_kinds import Fault
from ringme_async.testing.fake.fault_schedule import Faults
from ringme_async.testing.fake.http_server import LoopbackServer

__all__ = ["Clock"]

_AsyncTest: TypeAlias = Callable[..., Coroutine[Any, Any, None]]
_Factory: TypeAlias = Callable[[], asyncio.AbstractEventLoop]

_SETTINGS: Final = frozenset(inspect.signature(FakeRingMe).parameters)
_CHANCES: Final = frozenset(inspect.signature(Faults.random).parameters) - {"self", "chances"}
_SERVER_WITH_CLOCK: Final = (
    "ringme_clock and ringme_server cannot be used in one test: the server's socket and thread"
    " live in real time and do not jump; use the fixture ringme, which stays in memory"
)
_UVLOOP: Final = (
    "ringme_clock cannot be used under uvloop, whose clock is the machine's and does not jump:"
    " let this test run on asyncio's own loop"
)
_NOT_ASYNC: Final = "ringme_clock is the clock of an event loop: the test that uses it is async def"


class Clock:
    """The clock of the fixture ``ringme_clock``.

    It jumps when all tasks of the test wait: ``await asyncio.sleep(3600)`` ends at once, an hour
    later.
    """

    def time(self) -> float:
        """Return the seconds of fake time since the test's loop was made."""
        return self._loop().time()

    def let_pass(self, seconds: float) -> None:
        """Let time pass at once, like a call that blocks the loop.

        Args:
            seconds: How long; 0 or more.
        """
        self._loop().let_pass(seconds)

    def _loop(self) -> JumpingLoop:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, JumpingLoop):
            raise RuntimeError(_wrong_loop(loop))
        return loop


def fake_of(request: pytest.FixtureRequest) -> FakeRingMe:
    """Make a fake with the settings of the marker ``ringme``."""
    settings = _settings(request)
    tenants = settings.pop("tenants", 0)
    faults = settings.pop("faults", None)
    fake = FakeRingMe(**settings)
    fake.add_tenants(tenants)
    _set_faults(fake, faults, settings.get("seed", 0))
    return fake


def dealer_of(request: pytest.FixtureRequest, fake: FakeRingMe) -> FakeApplication:
    """Add an application that reaches all clients, with the ceiling of the marker."""
    settings = _settings(request)
    if "ceiling" in settings:
        return fake.add_dealer(ceiling=settings["ceiling"])
    return fake.add_dealer()


@contextmanager
def ringme_on(
    request: pytest.FixtureRequest, fake: FakeRingMe, dealer: FakeApplication
) -> Generator[RingMe]:
    """Make a ``RingMe`` on a fake, with the seed of the fake, and close it."""
    chance = Random(f"ringme {_settings(request).get('seed', 0)}")
    ringme = RingMe(
        fake.base_url,
        auth=ClientCredentials(dealer.app_id, dealer.app_secret),
        transport=InMemoryTransport(fake),
        retry=RetryPolicy(random=chance.random),
        tokens=TokenStore(random=chance.random),
    )
    yield ringme
    _close(ringme)


def clock() -> Clock:
    """Return the clock; fail if another loop runs already."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return Clock()
    if not isinstance(loop, JumpingLoop):
        pytest.fail(f"ringme_clock came too late: {_wrong_loop(loop)}", pytrace=False)
    return Clock()


def refuse_server_with_clock(request: pytest.FixtureRequest) -> None:
    """Fail a test that uses both the jumping clock and the server."""
    if {"ringme_clock", "ringme_server"} <= set(request.fixturenames):
        pytest.fail(_SERVER_WITH_CLOCK, pytrace=False)


@contextmanager
def jumping_loops(metafunc: pytest.Metafunc) -> Generator[None]:
    """Collect a test so that its runner makes a jumping loop."""
    hooks = metafunc.config.pluginmanager
    item = metafunc.definition
    if "anyio_backend" in metafunc.fixturenames:
        backend = ("asyncio", {"loop_factory": JumpingLoop})
        item.add_marker(pytest.mark.parametrize("anyio_backend", [backend], ids=["asyncio"]))
    if not hasattr(metafunc.config.hook, "pytest_asyncio_loop_factories"):
        if "event_loop_policy" in metafunc.fixturenames:
            policies = [_jumping_policy()]
            item.add_marker(pytest.mark.parametrize("event_loop_policy", policies, ids=["jumping"]))
        yield
        return
    factories = _Factories()
    hooks.register(factories)
    try:
        yield
    finally:
        hooks.unregister(factories)


@contextmanager
def checking_the_loop(item: pytest.Function) -> Generator[None]:
    """Fail a test before its first line if its loop does not jump."""
    hypothesis = getattr(item.obj, "hypothesis", None)
    owner, name = (item, "obj") if hypothesis is None else (hypothesis, "inner_test")
    test = getattr(owner, name)
    if not inspect.iscoroutinefunction(test):
        pytest.fail(_NOT_ASYNC, pytrace=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, _checking(cast("_AsyncTest", test)))
        yield


@contextmanager
def serving(fake: FakeRingMe) -> Generator[str]:
    """Serve a fake from a thread, so that code that blocks gets answers too."""
    ready = Future[_Remote]()
    thread = threading.Thread(
        target=asyncio.run, args=(_serve(fake, ready),), name="ringme_server", daemon=True
    )
    thread.start()
    remote = ready.result()
    fake.engine.servers.add(remote)
    try:
        yield remote.server.url
    finally:
        fake.engine.servers.discard(remote)
        remote.stop()
        thread.join()


@frozen(eq=False)
class _Remote:
    """A server on another thread's loop."""

    server: LoopbackServer
    loop: asyncio.AbstractEventLoop
    done: asyncio.Event

    async def suspend(self) -> None:
        await self._run_there(self.server.suspend())

    async def resume(self) -> None:
        await self._run_there(self.server.resume())

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.done.set)

    async def _run_there(self, coro: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coro, self.loop))


async def _serve(fake: FakeRingMe, ready: Future[_Remote]) -> None:
    server = fake.serve()
    done = asyncio.Event()
    try:
        await server.__aenter__()
    except BaseException as error:  # noqa: BLE001 -- the waiting thread raises it
        ready.set_exception(error)
        return
    # An outage runs on the test's loop, which must not touch objects of this loop.
    fake.engine.servers.discard(server)
    ready.set_result(_Remote(server, asyncio.get_running_loop(), done))
    try:
        await done.wait()
    finally:
        await server.__aexit__()


class _Factories:
    """pytest-asyncio's hook, active while a test with ``ringme_clock`` is collected."""

    @pytest.hookimpl(wrapper=True, optionalhook=True)
    def pytest_asyncio_loop_factories(
        self, config: pytest.Config, item: pytest.Item
    ) -> Generator[None, Mapping[str, _Factory] | None, Mapping[str, _Factory]]:
        theirs = yield
        marker = item.get_closest_marker("asyncio")
        chosen = marker is not None and "loop_factories" in marker.kwargs
        # A loop chosen on purpose stays: the test then fails at its start, with the reason.
        if theirs and (chosen or any(_is_uvloop(factory) for factory in theirs.values())):
            return theirs
        return {"jumping": JumpingLoop}


def _jumping_policy() -> object:
    policy = _current_policy()
    # A subclass of the current policy, so that its other decisions stay.
    kind = type("JumpingPolicy", (type(policy),), {"new_event_loop": staticmethod(JumpingLoop)})
    return kind()


def _close(ringme: RingMe) -> None:
    # The loop it was used on has no public name.
    loop = ringme._lifetime.loop  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    if loop is None:
        return
    if not loop.is_closed():
        # The loop does not run now: the test has ended, and the loop is not closed yet.
        loop.run_until_complete(ringme.aclose())
        return
    # Not asyncio.run, which would change the current loop.
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(ringme.aclose())
    finally:
        loop.close()


def _checking(test: _AsyncTest) -> _AsyncTest:
    @functools.wraps(test)
    async def checked(*args: object, **kwargs: object) -> None:
        __tracebackhide__ = True
        loop = asyncio.get_running_loop()
        if _is_uvloop(type(loop)) or (
            "uvloop" in sys.modules and _is_uvloop(type(_current_policy()))
        ):
            pytest.fail(_UVLOOP, pytrace=False)
        if not isinstance(loop, JumpingLoop):
            pytest.fail(_wrong_loop(loop), pytrace=False)
        await test(*args, **kwargs)

    return checked


def _current_policy() -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return asyncio.get_event_loop_policy()  # pyright: ignore[reportDeprecated]


def _is_uvloop(thing: object) -> bool:
    return getattr(thing, "__module__", None) in {"uvloop", "uvloop.loop"}


def _wrong_loop(loop: asyncio.AbstractEventLoop) -> str:
    name = f"{type(loop).__module__}.{type(loop).__qualname__}"
    return (
        f"ringme_clock needs a loop that jumps, and this test runs on {name}: name the fixture in"
        " the test's arguments, and let nothing else choose its loop"
    )


def _settings(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Merge the markers of a test; the closest wins."""
    item = cast("pytest.Item", request.node)  # pyright: ignore[reportUnknownMemberType]
    settings: dict[str, Any] = {}
    for marker in reversed(list(item.iter_markers("ringme"))):
        unknown = sorted(marker.kwargs.keys() - _SETTINGS - {"tenants", "faults"})
        if marker.args or unknown:
            given = ", ".join(unknown) or "what has no name"
            pytest.fail(
                f"@pytest.mark.ringme takes tenants, faults and the settings of FakeRingMe, all by"
                f" name, and not {given}",
                pytrace=False,
            )
        settings.update(marker.kwargs)
    return settings


def _set_faults(fake: FakeRingMe, faults: object, seed: int) -> None:
    if callable(faults) and not isinstance(faults, Fault):
        faults(fake.faults)
        return
    try:
        _schedule(fake.faults, faults, seed)
    except (TypeError, ValueError) as error:
        flaw = str(error)
    else:
        return
    pytest.fail(f"@pytest.mark.ringme(faults=...): {flaw}", pytrace=False)


def _schedule(schedule: Faults, faults: object, seed: int) -> None:
    match faults:
        case None:
            return
        case Mapping():
            _set_chances(schedule, cast("Mapping[object, Any]", faults), seed)
        case Fault():
            schedule.next(faults)
        case str():
            raise TypeError(f"a fault by its name has a chance: {{{faults!r}: 0.02}}")
        case _:
            for fault in cast("Iterable[Fault]", faults):
                schedule.next(fault)


def _set_chances(schedule: Faults, chances: Mapping[object, Any], seed: int) -> None:
    own = {fault: chance for fault, chance in chances.items() if isinstance(fault, Fault)}
    named: dict[Any, Any] = {name: chances[name] for name in chances.keys() - own.keys()}
    named.setdefault("seed", seed)
    unknown = sorted(repr(name) for name in named.keys() - _CHANCES)
    if unknown:
        known = ", ".join(sorted(_CHANCES))
        raise TypeError(f"there is no {', '.join(unknown)}; there are {known}, and faults")
    schedule.random(own, **named)

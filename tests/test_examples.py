"""The programs in ``examples/`` run, as programs, against a server on loopback."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from attrs import frozen

from ringme_async.testing import FakeRingMe, faults
from tests.unhurried import without_slowness

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@frozen
class Ended:
    """How a program ended."""

    code: int | None
    output: str
    errors: str


@pytest.fixture
def fake() -> FakeRingMe:
    fake = FakeRingMe()
    fake.add_dealer("app-id", "app-secret", tenants=fake.add_tenants(12))
    return fake


@pytest.fixture
async def url(fake: FakeRingMe) -> AsyncIterator[str]:
    async with fake.serve() as url:
        yield url


def variables(url: str = "", more: Mapping[str, str] | None = None) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "error",
        # What a program says is waited for, and it may not be at its end then.
        "PYTHONUNBUFFERED": "1",
        "RINGME_BASE_URL": url,
        "RINGME_APP_ID": "app-id",
        "RINGME_APP_SECRET": "app-secret",
        **(more or {}),
    }


@asynccontextmanager
async def started(
    name: str, *arguments: str | Path, env: Mapping[str, str], cwd: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "dev", EXAMPLES / name, *arguments),
        env=env,
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def run(
    name: str, *arguments: str | Path, env: Mapping[str, str], cwd: Path | None = None
) -> Ended:
    async with started(name, *arguments, env=env, cwd=cwd) as process:
        output, errors = await process.communicate()
    return Ended(process.returncode, output.decode(), without_slowness(errors.decode()))


async def test_reading_one_client(url: str) -> None:
    ended = await run("read_one.py", "7", env=variables(url))

    assert ended == Ended(0, "7 ringme_test_7, Europe/Moscow\n", "")


async def test_reading_one_client_that_is_not_there(url: str) -> None:
    ended = await run("read_one.py", "4040", env=variables(url))

    assert ended.code == 1
    assert "client_not_found" in ended.errors


async def test_the_nightly_refresh(fake: FakeRingMe, url: str, tmp_path: Path) -> None:
    shops = [fake.add_application(tenant=fake.add_tenant(blocked=n == 1)) for n in range(3)]
    lines = [f"shop {n},{shop.app_id},SECRET_{n}" for n, shop in enumerate(shops)]
    listed = tmp_path / "tenants.csv"
    listed.write_text("\n".join(["name,app_id,secret_from", *lines]))
    secrets = {f"SECRET_{n}": shop.app_secret for n, shop in enumerate(shops)}

    ended = await run(
        "nightly_refresh.py", listed, tmp_path / "clients.jsonl", env=variables(url, secrets)
    )

    assert (ended.code, ended.errors) == (1, "")
    assert ended.output == "2 of 3 done, 1 failed (UserBlocked 1)\n"
    clients = (tmp_path / "clients.jsonl").read_text("utf-8").splitlines()
    read = {json.loads(line)["tenant"]: json.loads(line)["client"]["id"] for line in clients}
    assert read == {"shop 0": shops[0].tenant.id, "shop 2": shops[2].tenant.id}
    (failure,) = (tmp_path / "clients.jsonl.failed").read_text("utf-8").splitlines()
    assert json.loads(failure)["tenant"] == "shop 1"

    await run("nightly_refresh.py", listed, tmp_path / "clients.jsonl", env=variables(url, secrets))
    assert fake.logins == 3, "the second run uses the tokens of the first"


async def test_zones_are_shown_and_then_changed(fake: FakeRingMe, url: str) -> None:
    fake.tenant(2).set(timezone="Asia/Omsk")

    looked = await run("change_zones.py", "Asia/Omsk", "1", "2", "3", env=variables(url))
    assert (looked.code, looked.errors) == (0, "")
    assert looked.output.endswith("2 to change, 1 as wished already\n")
    fake.assert_not_updated(1)

    done = await run("change_zones.py", "Asia/Omsk", "1", "2", "3", "--apply", env=variables(url))
    assert (done.code, done.errors) == (0, "")
    fake.assert_updated(1, timezone="Asia/Omsk")
    fake.assert_not_updated(2)
    fake.assert_updated(3, timezone="Asia/Omsk")


async def test_the_service(url: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    async with started("service.py", str(port), env=variables(url)) as process:
        assert process.stdout is not None
        await process.stdout.readline()  # it says that it runs
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
            async with session.get("/clients/7") as answer:
                assert await answer.json() == {"id": 7, "name": "ringme_test_7"}
            async with session.get("/clients/4040") as answer:
                assert answer.status == 404
            async with session.get("/clients/..%2Fadmin") as answer:
                assert answer.status == 400


async def test_structured_logs(fake: FakeRingMe, url: str) -> None:
    fake.faults.next(faults.ServerError(503))

    ended = await run("structured_logs.py", env=variables(url))

    assert (ended.code, ended.errors) == (0, "")
    told = [json.loads(line) for line in ended.output.splitlines()]
    assert [line["event"] for line in told] == ["login", "retry", "call"]
    assert "app-secret" not in ended.output


async def test_tracing(fake: FakeRingMe, url: str) -> None:
    fake.faults.next(faults.ServerError(503))

    ended = await run("traced.py", "1", "2", env=variables(url))

    assert (ended.code, ended.errors) == (0, "")
    *spans, measured = [json.loads(line) for line in ended.output.splitlines()]
    assert spans[-1]["span"] == "read some clients"
    reads = [span for span in spans if span["span"].startswith("GET ")]
    assert sorted(span["http.response.status_code"] for span in reads) == [200, 200, 503]
    assert "http.client.request.duration" in json.dumps(measured)
    assert "app-secret" not in ended.output


async def test_tests_with_a_fake_pass(tmp_path: Path) -> None:
    copy = tmp_path / "test_with_fake.py"
    copy.write_text((EXAMPLES / "test_with_fake.py").read_text("utf-8"), "utf-8")
    pytest_process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", copy),
        env={**variables(), "PYTHONWARNINGS": "default"},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await pytest_process.communicate()

    assert pytest_process.returncode == 0, output.decode()
    assert "4 passed" in output.decode()


async def test_beside_plain_aiohttp_everything_is_read_and_nothing_refused(tmp_path: Path) -> None:
    ended = await run("beside_plain_aiohttp.py", "0.3", env=variables(), cwd=tmp_path)

    assert ended.code == 0, ended.errors
    ours = re.findall(r"ringme-async +(\d+) +(\d+) +(\d+)", ended.output)
    assert ours == [("600", "600", "0"), ("36", "36", "0"), ("450", "450", "0")]
    plain = re.findall(r"plain aiohttp +(\d+) +(\d+) +\d+ +([\d.]+)", ended.output)
    assert len(plain) == 3
    assert all(int(read) < int(asked) for read, asked, _ in plain[:2])
    # Whoever reads so slowly that two of the hours pass meanwhile may be refused nothing.
    read, asked, seconds = plain[2]
    assert int(read) < int(asked) or float(seconds) >= 6.0

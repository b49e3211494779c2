"""The token file: private, intact after a crash, and shared without loss."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from ringme_async.auth import (
    BearerToken,
    ClientCredentials,
    PasswordCredentials,
    RefreshToken,
    Token,
    TokenHost,
    TokenKey,
    TokenStore,
)
from ringme_async.auth.credentials import file_key
from ringme_async.auth.private_file import try_lock
from ringme_async.auth.token_file import TokenFile
from ringme_async.auth.token_record import StoredToken, from_line, to_line
from ringme_async.errors import InvalidRequest, TokenError
from tests.auth.exposure import assert_keeps
from tests.auth.hosts import (
    KEY,
    ORIGIN,
    Host,
    PendingAnswers,
    answer,
    endpoint_over,
    key_of,
    script,
    token_answer,
)

pytestmark = pytest.mark.jumping

LOG = "ringme_async.auth"


@define
class WallClock:
    """A calendar clock that the test sets."""

    now: float = 1_760_000_000.0

    def __call__(self) -> float:
        return self.now


@define
class Machine:
    """One path and one clock; each store acts like another process on the file."""

    path: Path
    clock: WallClock

    def store(self, **parts: object) -> TokenStore:
        return TokenStore(path=self.path, wall_clock=self.clock, random=lambda: 1.0, **parts)  # type: ignore[arg-type]

    def file(self, capacity: int = 100) -> TokenFile:
        return TokenFile(str(self.path), capacity=capacity, wall_clock=self.clock)

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()]

    async def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        await asyncio.sleep(seconds)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "tokens", WallClock())


@pytest.fixture(params=[0o022, 0o000, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


class TestBetweenProcesses:
    """One store uses the tokens that another has saved."""

    async def test_a_token_outlives_its_store(self, machine: Machine) -> None:
        host = Host()
        first = machine.store()
        await first.get(KEY, endpoint_over(host))
        await first.aclose()
        assert (await machine.store().get(KEY, endpoint_over(host))).value == "token-1"
        assert len(host.requests) == 1

    async def test_a_token_is_found_by_a_store_that_is_open_already(self, machine: Machine) -> None:
        host = Host()
        first, second = machine.store(), machine.store()
        await first.get(KEY, endpoint_over(host))
        assert second.ready(KEY) is None
        assert (await second.get(KEY, endpoint_over(host))).value == "token-1"
        assert second.ready(KEY)
        assert len(host.requests) == 1

    async def test_a_token_from_the_file_is_due_at_its_original_time(
        self, machine: Machine
    ) -> None:
        host = Host()
        await machine.store().get(KEY, endpoint_over(host))
        await machine.pass_time(3500)
        second = machine.store()
        assert (await second.get(KEY, endpoint_over(host))).value == "token-1"
        await machine.pass_time(69)
        assert second.ready(KEY)
        await machine.pass_time(2)
        assert second.ready(KEY) is None

    async def test_a_due_token_in_the_file_is_not_used(self, machine: Machine) -> None:
        host = Host()
        await machine.store().get(KEY, endpoint_over(host))
        await machine.pass_time(3571)
        assert (await machine.store().get(KEY, endpoint_over(host))).value == "token-2"

    async def test_the_file_holds_calendar_time_and_not_the_loops_time(
        self, machine: Machine
    ) -> None:
        host = Host()
        await asyncio.sleep(1_000_000)
        await machine.store().get(KEY, endpoint_over(host))
        assert machine.lines[1]["expires"] == pytest.approx(machine.clock.now + 3600)

    async def test_a_clock_that_was_set_back_extends_no_token(self, machine: Machine) -> None:
        host = Host()
        await machine.store().get(KEY, endpoint_over(host))
        machine.clock.now -= 86_400 * 365
        second = machine.store()
        await second.get(KEY, endpoint_over(host))
        await asyncio.sleep(3571)
        assert second.ready(KEY) is None

    async def test_a_token_of_unknown_lifetime_is_kept_for_a_day(self, machine: Machine) -> None:
        host = Host(script(token_answer("t-1", expires_in=None), token_answer("t-2")))
        await machine.store().get(KEY, endpoint_over(host))
        machine.clock.now += 86_399
        assert (await machine.store().get(KEY, endpoint_over(host))).value == "t-1"
        machine.clock.now += 2
        assert (await machine.store().get(KEY, endpoint_over(host))).value == "t-2"

    async def test_a_dropped_token_is_not_read_again(self, machine: Machine) -> None:
        host = Host()
        store = machine.store()
        store.drop(KEY, await store.get(KEY, endpoint_over(host)))
        assert (await store.get(KEY, endpoint_over(host))).value == "token-2"

    async def test_after_a_401_the_token_of_another_process_is_used(self, machine: Machine) -> None:
        host = Host()
        first, second = machine.store(), machine.store()
        old = await first.get(KEY, endpoint_over(host))
        second.drop(KEY, await second.get(KEY, endpoint_over(host)))
        new = await second.get(KEY, endpoint_over(host))
        first.drop(KEY, old)
        assert (await first.get(KEY, endpoint_over(host))).value == new.value
        assert len(host.requests) == 2

    async def test_keys_and_origins_have_separate_tokens(self, machine: Machine) -> None:
        host = Host()
        store = machine.store()
        keys = [key_of(1), key_of(2), key_of(1, "https://other.example")]
        values = [(await store.get(key, endpoint_over(host))).value for key in keys]
        again = machine.store()
        assert [(await again.get(key, endpoint_over(host))).value for key in keys] == values

    async def test_an_evicted_token_is_read_from_the_file(self, machine: Machine) -> None:
        host = Host()
        store = machine.store(capacity=2)
        for number in (1, 2, 3, 1):
            await store.get(key_of(number), endpoint_over(host))
        assert len(store) == 2
        assert host.logins["app-1"] == 1

    async def test_a_token_from_the_file_counts_for_the_capacity(self, machine: Machine) -> None:
        host = Host()
        first = machine.store()
        for number in range(5):
            await first.get(key_of(number), endpoint_over(host))
        second = machine.store(capacity=2)
        for number in range(5):
            await second.get(key_of(number), endpoint_over(host))
        assert len(second) == 2
        assert len(host.requests) == 5

    async def test_bearer_tokens_and_custom_auths_are_not_written(self, machine: Machine) -> None:
        class Own:
            renewable = True

            async def fetch(self, host: TokenHost, previous: Token | None) -> Token:
                return Token("own-t0ken")

        store = machine.store()
        await store.get(TokenKey(ORIGIN, BearerToken("fixed-t0ken")), endpoint_over(Host()))
        await store.get(TokenKey(ORIGIN, Own()), endpoint_over(Host()))
        await store.aclose()
        assert not machine.path.exists()


class TestRefreshTokens:
    """Refresh tokens, which a new login cannot replace."""

    KEY = TokenKey(ORIGIN, RefreshToken("app", "secret", "r-0"))

    async def test_the_next_process_uses_the_newest_refresh_token(self, machine: Machine) -> None:
        host = Host(script(token_answer("t-1", refresh_token="r-1"), token_answer("t-2")))
        await machine.store().get(self.KEY, endpoint_over(host))
        await machine.pass_time(86_400 * 30)
        await machine.store().get(self.KEY, endpoint_over(host))
        assert [form["refresh_token"] for form in host.forms] == ["r-0", "r-1"]

    async def test_a_refresh_token_is_used_after_its_access_token_was_dropped(
        self, machine: Machine
    ) -> None:
        host = Host(script(token_answer("t", refresh_token="r-1"), token_answer("t")))
        first, second = machine.store(), machine.store()
        await first.get(self.KEY, endpoint_over(host))
        second.drop(self.KEY, await second.get(self.KEY, endpoint_over(host)))
        await second.get(self.KEY, endpoint_over(host))
        assert [form["refresh_token"] for form in host.forms] == ["r-0", "r-1"]

    def traded_in_by_a_process_without_locks(self, machine: Machine, lifetime: float) -> None:
        """Act like a process on a network file system without locks."""
        file = machine.file()
        name = file_key(self.KEY)
        assert name is not None
        file.keep(name, "t-theirs", lifetime, "r-1")
        assert file.write()

    async def test_a_refresh_token_just_traded_in_by_another_process_is_no_refusal(
        self, machine: Machine
    ) -> None:
        pending = PendingAnswers()
        ask = asyncio.create_task(machine.store().get(self.KEY, endpoint_over(Host(pending))))
        await asyncio.sleep(0.1)
        self.traded_in_by_a_process_without_locks(machine, 3600.0)
        pending.answers[0].set_result(answer(400, {"error": "invalid_grant"}))
        assert (await ask).value == "t-theirs"

    async def test_the_refresh_token_of_another_process_is_traded_in_if_its_token_has_expired(
        self, machine: Machine
    ) -> None:
        pending = PendingAnswers()
        host = Host(pending)
        ask = asyncio.create_task(machine.store().get(self.KEY, endpoint_over(host)))
        await asyncio.sleep(0.1)
        self.traded_in_by_a_process_without_locks(machine, 10.0)
        machine.clock.now += 20
        pending.answers[0].set_result(answer(400, {"error": "invalid_grant"}))
        await asyncio.sleep(0.1)
        pending.answers[1].set_result(token_answer("t-ours"))
        assert (await ask).value == "t-ours"
        assert [form["refresh_token"] for form in host.forms] == ["r-0", "r-1"]

    async def test_a_refusal_without_a_newer_token_in_the_file_is_raised(
        self, machine: Machine
    ) -> None:
        host = Host(script(answer(400, {"error": "invalid_grant"})))
        store = machine.store()
        for _ in range(3):
            with pytest.raises(TokenError):
                await store.get(self.KEY, endpoint_over(host))
        assert len(host.requests) == 1

    async def test_refresh_tokens_of_other_grants_are_not_written(self, machine: Machine) -> None:
        host = Host(script(token_answer("t", refresh_token="r-other")))
        await machine.store().get(KEY, endpoint_over(host))
        assert machine.lines[1]["refresh"] is None

    async def test_a_rotated_refresh_token_in_the_file_may_be_evicted(
        self, machine: Machine
    ) -> None:
        host = Host(script(token_answer("t", refresh_token="r-1")))
        store = machine.store(capacity=1)
        await store.get(self.KEY, endpoint_over(host))
        await store.get(KEY, endpoint_over(host))
        assert store.ready(self.KEY) is None
        assert (await store.get(self.KEY, endpoint_over(host))).refresh_token == "r-1"


class TestPrivacy:
    """Only the owner may read or replace the file."""

    @pytest.mark.usefixtures("umask")
    async def test_all_files_have_mode_0600_whatever_the_umask(self, machine: Machine) -> None:
        await machine.store().get(KEY, endpoint_over(Host()))
        assert {mode_of(path) for path in machine.path.parent.iterdir()} == {0o600}

    async def test_the_file_is_never_open_to_others_not_even_for_a_moment(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = os.umask(0)
        modes: list[int] = []
        real_write = os.write

        def spy(fd: int, text: bytes) -> int:
            modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
            return real_write(fd, text)

        monkeypatch.setattr(os, "write", spy)
        try:
            await machine.store().get(KEY, endpoint_over(Host()))
        finally:
            os.umask(before)
        assert modes
        assert set(modes) == {0o600}

    async def test_the_file_holds_tokens_and_no_credentials(self, machine: Machine) -> None:
        store = machine.store()
        auths = [
            ClientCredentials("the-app-id", "the-app-s3cret"),
            PasswordCredentials("the-app-id", "the-app-s3cret", "the-user", "the-passw0rd"),
            RefreshToken("the-app-id", "the-app-s3cret", "the-refresh-t0ken"),
        ]
        host = Host(script(token_answer("the-access-token", refresh_token="the-new-one")))
        for auth in auths:
            await store.get(TokenKey("https://the-host.example", auth), endpoint_over(host))
        text = machine.path.read_text()
        assert text.count("the-access-token") == 3
        hidden = ["the-app", "the-user", "the-passw0rd", "the-refresh", "the-host"]
        assert_keeps(text, *hidden)

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o606, 0o622, 0o601])
    def test_a_file_that_is_open_to_others_is_refused(self, machine: Machine, mode: int) -> None:
        machine.path.touch()
        machine.path.chmod(mode)
        with pytest.raises(InvalidRequest, match=f"open to others .mode {mode:04o}.; make it 0600"):
            machine.store()

    def test_a_link_is_refused(self, machine: Machine) -> None:
        target = machine.path.with_name("elsewhere")
        target.touch(0o600)
        machine.path.symlink_to(target)
        with pytest.raises(InvalidRequest, match="symbolic link"):
            machine.store()

    def test_a_dangling_link_is_refused(self, machine: Machine) -> None:
        machine.path.symlink_to("nowhere")
        with pytest.raises(InvalidRequest, match="symbolic link"):
            machine.store()
        assert not machine.path.with_name("nowhere").exists()

    def test_a_link_created_just_before_the_open_is_refused(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        target = machine.path.with_name("elsewhere")
        target.touch(0o600)
        machine.path.symlink_to(target)
        monkeypatch.setattr(os.path, "islink", lambda _path: False)
        with pytest.raises(InvalidRequest, match="no use as a token file"):
            machine.store()

    def test_a_link_in_place_of_the_lock_file_is_refused(self, machine: Machine) -> None:
        machine.path.with_name("tokens.lock").symlink_to("elsewhere")
        with pytest.raises(InvalidRequest, match=r"tokens\.lock is a symbolic link"):
            machine.store()

    def test_a_link_in_place_of_the_new_file_is_replaced_and_not_followed(
        self, machine: Machine
    ) -> None:
        target = machine.path.with_name("elsewhere")
        target.write_text("precious")
        machine.path.with_name("tokens.new").symlink_to(target)
        file = machine.file()
        file.keep("k", "t", None, None)
        assert file.write()
        assert target.read_text() == "precious"
        assert machine.lines[1]["token"] == "t"

    def test_a_pipe_is_refused_at_once(self, machine: Machine) -> None:
        os.mkfifo(machine.path, 0o600)
        with pytest.raises(InvalidRequest, match="no ordinary file"):
            machine.store()

    def test_a_directory_is_refused(self, machine: Machine) -> None:
        machine.path.mkdir(0o700)
        with pytest.raises(InvalidRequest, match="no ordinary file"):
            machine.store()

    def test_a_file_of_another_user_is_refused(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        machine.path.touch(0o600)
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(InvalidRequest, match="belongs to another user"):
            machine.store()

    def test_a_missing_directory_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"no directory .*nowhere"):
            TokenStore(path=tmp_path / "nowhere" / "tokens")

    async def test_a_file_that_becomes_open_to_others_is_not_used(
        self, machine: Machine, caplog: pytest.LogCaptureFixture
    ) -> None:
        host = Host()
        store = machine.store()
        await store.get(key_of(1), endpoint_over(host))
        machine.path.chmod(0o644)
        before = machine.path.read_bytes()
        for number in (2, 3):
            assert await store.get(key_of(number), endpoint_over(host))
        assert machine.path.read_bytes() == before
        assert [record.message.split(":")[0] for record in caplog.records] == [
            f"Tokens are not kept in {machine.path} for now"
        ]
        machine.path.chmod(0o600)
        await store.get(key_of(4), endpoint_over(host))
        assert len(machine.lines) == 5

    async def test_a_relative_path_is_kept_when_the_process_changes_directory(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        store = TokenStore(path="tokens")
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path / "other")
        await store.get(KEY, endpoint_over(Host()))
        assert machine.path.exists()


class TestAccidents:
    """Killed processes, full disks and foreign changes."""

    def written(self, machine: Machine, count: int = 3) -> bytes:
        file = machine.file()
        for number in range(count):
            file.keep(f"k-{number}", f"t-{number}", 3600.0, None)
        assert file.write()
        return machine.path.read_bytes()

    def test_half_a_last_line_is_ignored_and_cut_off_by_the_next_writer(
        self, machine: Machine, caplog: pytest.LogCaptureFixture
    ) -> None:
        whole = self.written(machine)
        last = whole.splitlines(keepends=True)[-1]
        for cut in range(1, len(last)):
            machine.path.write_bytes(whole[:-cut])
            file = machine.file()
            known = [file.newest(f"k-{number}") for number in range(3)]
            assert [bool(token) for token in known] == [True, True, False]
            file.keep("k-9", "t-9", 60.0, None)
            assert file.write()
            again = machine.file()
            assert again.newest("k-1")
            assert again.newest("k-9")
            assert len(machine.lines) == 4
        assert caplog.records == []

    @pytest.mark.parametrize(
        "broken",
        [
            b"not json\n",
            b"\xff\xfe\n",
            b"[]\n",
            b"{}\n",
            b"\n",
            b"[" * 100_000 + b"\n",
            b'{"key":"k-1","token":"t\\r\\nX-Evil: 1","saved":1}\n',
        ],
    )
    def test_an_unreadable_line_is_ignored_with_a_warning_and_removed_by_the_next_login(
        self, machine: Machine, broken: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        lines = self.written(machine).splitlines(keepends=True)
        machine.path.write_bytes(b"".join([*lines[:2], broken, *lines[2:]]))
        file = machine.file()
        assert all(file.newest(f"k-{number}") for number in range(3))
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.message == f"{machine.path}: 1 unreadable lines ignored"
        file.keep("k-9", "t-9", 60.0, None)
        assert file.write()
        assert len(machine.lines) == 5
        assert mode_of(machine.path) == 0o600

    @pytest.mark.parametrize(
        "content",
        [
            b"PRECIOUS s3cret notes\n",
            b"PRECIOUS without an end",
            b'{"ringme_tokens": 2, "generation": "x"}\nPRECIOUS\n',
            b'{"other": 1}\nPRECIOUS\n',
            b'["PRECIOUS"]\n',
            b'"PRECIOUS"\n',
            b"\x00\xff PRECIOUS\n" + b"x" * 5_000,
            b"[" * 199 + b"\nPRECIOUS",
        ],
    )
    async def test_a_file_of_another_format_is_ignored_with_a_warning_and_renamed(
        self, machine: Machine, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine.path.touch(0o600)
        machine.path.write_bytes(content)
        host = Host()
        store = machine.store()
        await store.get(KEY, endpoint_over(host))
        (record,) = caplog.records
        assert record.message == f"{machine.path} is broken or no token file; ignored"
        aside = machine.path.with_name("tokens.corrupt")
        assert aside.read_bytes() == content
        assert mode_of(aside) == 0o600
        assert (await machine.store().get(KEY, endpoint_over(host))).value == "token-1"

    async def test_an_empty_file_counts_as_new(
        self, machine: Machine, caplog: pytest.LogCaptureFixture
    ) -> None:
        machine.path.touch(0o600)
        await machine.store().get(KEY, endpoint_over(Host()))
        assert len(machine.lines) == 2
        assert caplog.records == []

    def test_a_new_file_left_by_a_killed_process_is_overwritten(self, machine: Machine) -> None:
        machine.path.with_name("tokens.new").write_text("half a dra")
        self.written(machine)
        assert {path.name for path in machine.path.parent.iterdir()} == {"tokens", "tokens.lock"}

    def test_a_deleted_file_is_recreated(self, machine: Machine) -> None:
        self.written(machine)
        file = machine.file()
        machine.path.unlink()
        assert file.newest("k-1") is None
        file.keep("k-9", "t-9", None, None)
        assert file.write()
        assert len(machine.lines) == 2

    def test_a_file_that_became_shorter_is_read_from_the_start(self, machine: Machine) -> None:
        lines = self.written(machine).splitlines(keepends=True)
        file = machine.file()
        machine.path.write_bytes(b"".join(lines[:2]))
        assert file.newest("k-0")
        assert file.newest("k-2") is None

    async def test_a_full_disk_fails_no_call_and_the_token_is_written_later(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        host = Host()
        store = machine.store()
        await store.get(key_of(0), endpoint_over(host))
        real_write = os.write

        def full(fd: int, text: bytes) -> int:
            real_write(fd, bytes(text)[:10])
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        for number in (1, 2):
            assert await store.get(key_of(number), endpoint_over(host))
        monkeypatch.setattr(os, "write", real_write)
        assert ["No space left" in record.message for record in caplog.records] == [True]
        await store.get(key_of(3), endpoint_over(host))
        again = machine.store()
        for number in range(4):
            await again.get(key_of(number), endpoint_over(host))
        assert len(host.requests) == 4

    def test_a_partial_write_is_continued(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real_write = os.write
        monkeypatch.setattr(os, "write", lambda fd, text: real_write(fd, bytes(text)[:7]))
        self.written(machine)
        assert len(machine.lines) == 4

    def test_the_number_of_unsaved_tokens_is_bounded(self, machine: Machine) -> None:
        file = machine.file(capacity=5)
        with try_lock(f"{machine.path}.lock") as held:
            assert held
            for number in range(50):
                file.keep(f"k-{number}", "t", None, None)
            assert not file.write()
        assert file.write()
        assert len(machine.lines) == 6

    async def test_a_write_waits_for_the_lock_of_another_process(self, machine: Machine) -> None:
        store = machine.store()
        with try_lock(f"{machine.path}.lock"):
            assert await store.get(KEY, endpoint_over(Host()))
            await asyncio.sleep(1)
            assert not machine.path.exists()
        await asyncio.sleep(0.1)
        assert len(machine.lines) == 2

    async def test_a_lock_that_is_never_freed_delays_neither_calls_nor_aclose(
        self, machine: Machine, caplog: pytest.LogCaptureFixture
    ) -> None:
        store = machine.store()
        with try_lock(f"{machine.path}.lock"):
            assert await store.get(KEY, endpoint_over(Host()))
            await asyncio.sleep(10)
            assert asyncio.get_running_loop().time() == pytest.approx(10.0)
            await store.aclose()
        assert asyncio.get_running_loop().time() == pytest.approx(12.0, abs=0.1)
        assert {record.message.partition(";")[0] for record in caplog.records} == {
            "Another process holds the token file's lock"
        }

    async def test_aclose_writes_unsaved_tokens(self, machine: Machine) -> None:
        store = machine.store()
        with try_lock(f"{machine.path}.lock"):
            await store.get(KEY, endpoint_over(Host()))
        await store.aclose()
        assert len(machine.lines) == 2

    def test_a_read_only_directory_is_refused_at_once(
        self, machine: Machine, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real_open = os.open

        def read_only(path: str, flags: int, mode: int = 0o777) -> int:
            if flags & os.O_CREAT:
                raise PermissionError(13, "Permission denied", path)
            return real_open(path, flags, mode)

        monkeypatch.setattr(os, "open", read_only)
        with pytest.raises(InvalidRequest, match=r"tokens: Permission denied; check who"):
            machine.store()


class TestLog:
    """How the file grows and shrinks."""

    def test_a_login_adds_one_line(self, machine: Machine) -> None:
        file = machine.file()
        file.keep("k-1", "t-1", 60.0, None)
        file.write()
        before = machine.path.read_bytes()
        file.keep("k-2", "t-2", 60.0, None)
        file.write()
        assert machine.path.read_bytes().startswith(before)
        assert len(machine.lines) == 3

    def test_without_a_new_token_nothing_is_written(self, machine: Machine) -> None:
        assert machine.file().write()
        assert not machine.path.exists()

    def test_the_file_is_rewritten_when_most_lines_are_out_of_date(self, machine: Machine) -> None:
        file, reader = machine.file(), machine.file()
        for number in range(2_500):
            file.keep(f"k-{number % 3}", f"t-{number}", 60.0, None)
            file.write()
            if number % 100 == 0:
                found = reader.newest(f"k-{number % 3}")
                assert found is not None
                assert found.value == f"t-{number}"
        assert len(machine.lines) <= 1_010
        assert {line.get("token") for line in machine.lines[-3:]} == {"t-2497", "t-2498", "t-2499"}

    def test_the_file_keeps_its_capacity_of_tokens_and_every_refresh_token(
        self, machine: Machine
    ) -> None:
        file = machine.file(capacity=10)
        for number in range(1_200):
            file.keep(f"k-{number}", "t", 60.0, "r" if number < 3 else None)
            file.write()
            machine.clock.now += 0.001
        assert len(machine.lines) <= 1_022
        again = machine.file(capacity=10)
        assert all(again.newest(f"k-{number}") for number in (0, 1, 2, 1_199))
        assert again.newest("k-3") is None

    def test_a_rewrite_removes_expired_tokens(self, machine: Machine) -> None:
        file = machine.file(capacity=100)
        file.keep("spent", "t", 60.0, None)
        file.keep("kept", "t", 60.0, "r")
        file.keep("unknown", "t", None, None)
        file.write()
        machine.clock.now += 61
        with machine.path.open("ab") as raw:
            raw.write(b"broken\n")
        file.keep("new", "t", 60.0, None)
        file.write()
        assert [line["key"] for line in machine.lines[1:]] == ["kept", "unknown", "new"]

    def test_the_later_of_two_tokens_of_one_key_is_used(self, machine: Machine) -> None:
        ours, theirs = machine.file(), machine.file()
        ours.keep("k", "older", 60.0, None)
        machine.clock.now += 1
        theirs.keep("k", "newer", 60.0, None)
        assert theirs.write()
        newest = ours.newest("k")
        assert newest is not None
        assert newest.value == "newer"
        assert ours.write()
        again = machine.file().newest("k")
        assert again is not None
        assert again.value == "newer"

    def test_another_process_notices_a_rewritten_file_of_the_same_length(
        self, machine: Machine
    ) -> None:
        ours, theirs = machine.file(), machine.file()
        ours.keep("k", "t-1", 60.0, None)
        ours.write()
        assert theirs.newest("k")
        text = machine.path.read_bytes()
        header, line = text.splitlines(keepends=True)
        other = header.replace(json.loads(header)["generation"].encode(), b"0" * 32)
        machine.path.write_bytes(other + line.replace(b"t-1", b"t-2"))
        found = theirs.newest("k")
        assert found is not None
        assert found.value == "t-2"


names = st.text("0123456789abcdef", min_size=1)
tokens = st.text([chr(code) for code in range(0x21, 0x7F)], min_size=1)
times = st.floats(0, 1e12)


@settings(deadline=None)
@given(
    names,
    st.builds(
        StoredToken,
        tokens,
        times,
        st.none() | times,
        st.none() | times,
        st.none() | tokens,
        st.integers(0),
    ),
)
def test_a_saved_token_is_read_back_unchanged(name: str, token: StoredToken) -> None:
    line = to_line(name, token)
    assert line.count(b"\n") == 1
    assert line.isascii()
    assert from_line(line) == (name, token)


@pytest.mark.parametrize(
    "change",
    [
        {"key": 1},
        {"key": None},
        {"token": None},
        {"token": 5},
        {"token": ""},
        {"token": "a\nb"},
        {"refresh": ""},
        {"refresh": 5},
        {"refresh": "a\nb"},
        {"saved": None},
        {"saved": "1"},
        {"saved": True},
        {"expires": "soon"},
        {"expires": float("nan")},
        {"expires": float("inf")},
        {"expires": 10**400},
        {"lifetime": []},
        {"number": "1"},
        {"number": True},
        {"number": 1.5},
        {"number": -1},
    ],
)
def test_a_line_with_a_wrong_value_is_ignored(change: dict[str, object]) -> None:
    record = json.loads(to_line("k", StoredToken("t", 1.0, 2.0, 1.0, "r")))
    assert from_line(json.dumps(record).encode())
    assert from_line(json.dumps(record | change).encode()) is None


def test_a_saved_token_shows_no_secret() -> None:
    assert_keeps(repr(StoredToken("hush-t", 1.0, refresh_token="hush-r")), "hush")


def test_keys_in_the_file_are_hashes(machine: Machine) -> None:
    name = file_key(KEY)
    assert name is not None
    assert len(bytes.fromhex(name)) == 32


def test_a_lock_has_one_holder_and_is_released_after_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    with try_lock(path) as first:
        assert first
        with try_lock(path) as second:
            assert not second
        with try_lock(path) as third:
            assert not third
    with pytest.raises(ZeroDivisionError), try_lock(path):
        raise ZeroDivisionError
    with try_lock(path) as again:
        assert again

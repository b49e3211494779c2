"""Runs a temporary PostgreSQL server in a directory of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "p@ss:w/rd"
_INSTALLED = Path("/usr/lib/postgresql")
_USER = "postgres"


def why_not() -> str | None:
    """Return why no server can be started here; None if one can."""
    if _binaries() is None:
        return "no PostgreSQL server is installed"
    if os.geteuid() == 0 and _user() is None:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server; yield its host and port."""
    binaries = _binaries()
    assert binaries is not None
    directory = Path(tempfile.mkdtemp(prefix="ringme-pg-"))
    try:
        password = directory / "password"
        password.write_text(f"{PASSWORD}\n", "utf-8")
        if os.geteuid() == 0:
            shutil.chown(directory, _USER)
            shutil.chown(password, _USER)
        data = directory / "data"
        make = [str(binaries / "initdb"), "-D", str(data), "-U", _USER, "--no-sync", "-E", "UTF8"]
        make += ["--locale=C", "-A", "scram-sha-256", f"--pwfile={password}"]
        _run(make, directory)
        port = _free_port()
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={directory}"]
        command = [str(binaries / "postgres"), "-D", str(data), "-F", "-p", str(port)]
        command += [part for setting in settings for part in ("-c", setting)]
        server = subprocess.Popen(
            command,
            cwd=directory,
            user=_user(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait_for(port, server)
            yield f"127.0.0.1:{port}"
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait()
    finally:
        shutil.rmtree(directory)


def _binaries() -> Path | None:
    found = sorted(_INSTALLED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def _user() -> str | None:
    """Return the user for the server, as it refuses root; None for the current user."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_USER).pw_name
    except KeyError:
        return None


def _run(command: list[str], directory: Path) -> None:
    done = subprocess.run(
        command, cwd=directory, user=_user(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 30
    while time.monotonic() < until:
        assert server.poll() is None, "the server ended"
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not listen")

"""The server on loopback for every contender: nginx, or without it our own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from benchmarks.work import record_at

_NGINX_CONF = """\
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
worker_processes 1;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  default_type application/json;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  keepalive_requests 100000000;
  keepalive_timeout 600s;
  add_header X-RateLimit-Limit 1000000000;
  add_header X-RateLimit-Remaining 999999999;
  add_header X-RateLimit-Reset 3599;
  server {{
    listen 127.0.0.1:{plain};
    {location}
  }}
  server {{
    listen 127.0.0.1:{packed};
    gzip on;
    gzip_types application/json;
    gzip_comp_level 1;
    {location}
  }}
}}
"""
# Each client has its own record: the SDK takes no other.
_LOCATION = "location ~ ^/api/ver1.0/client/([0-9]+)/client/$ {{ return 200 '{record}'; }}"


@frozen
class Upstream:
    """A running server: its plain origin and its gzip origin."""

    name: str
    plain: str
    packed: str


@contextmanager
def upstream(*, without_nginx: bool = False) -> Iterator[Upstream]:
    """Start a server that answers each request with the record asked for, and end it."""
    nginx = None if without_nginx else find_nginx()
    if nginx is not None:
        with _nginx(nginx) as server:
            yield server
        return
    with fallback() as plain, fallback("--gzip") as packed:
        yield Upstream("asyncio (nginx is not here)", plain, packed)


def find_nginx() -> str | None:
    """Find nginx, which Debian installs outside a user's PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


@contextmanager
def _nginx(nginx: str) -> Iterator[Upstream]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        # Its worker may run as another user.
        folder.chmod(0o755)
        plain, packed = _free_port(), _free_port()
        conf = folder / "nginx.conf"
        location = _LOCATION.format(record=record_at(b"/client/$1/client/").decode())
        conf.write_text(
            _NGINX_CONF.format(folder=folder, plain=plain, packed=packed, location=location)
        )
        process = subprocess.Popen([nginx, "-p", name, "-c", str(conf)], stderr=subprocess.DEVNULL)
        try:
            _wait_for(process, plain)
            yield Upstream("nginx", f"http://127.0.0.1:{plain}", f"http://127.0.0.1:{packed}")
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


@contextmanager
def fallback(*options: str) -> Iterator[str]:
    """Run the server of ``benchmarks.fallback`` in its own process; yield its origin."""
    command = [sys.executable, "-m", "benchmarks.fallback", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = process.stdout.readline() if process.stdout else ""
            yield f"http://127.0.0.1:{int(port)}"
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(200):
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("nginx does not come up")

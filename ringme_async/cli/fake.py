"""The fake as a server, for curl and for programs in other languages."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
from contextlib import AsyncExitStack
from typing import Annotated, Final

from attrs import frozen
from cyclopts import Parameter
from cyclopts.validators import Number

from ringme_async.cli import interruption
from ringme_async.cli.errors import CouldNotStart
from ringme_async.cli.text import print_json
from ringme_async.testing import FakeApplication, FakeRingMe

__all__ = ["ListenOptions", "serve_fake"]

# A server on all addresses is reached at loopback; the wildcard itself is no address to call.
_EVERYWHERE: Final = {"//0.0.0.0:": "//127.0.0.1:", "//[::]:": "//[::1]:"}
_TOKEN: Final = r"""sed 's/.*"access_token": "\([^"]*\)".*/\1/'"""


@frozen
class ListenOptions:
    """Where the fake is, and how large.

    Parameters
    ----------
    host
        The address to listen on. Whoever reaches it may change everything in the fake.
    port
        The port; 0 for a free one.
    tenants
        How many clients there are, with the ids 1, 2 and so on.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65_535))] = 8080
    tenants: Annotated[int, Parameter(validator=Number(gte=1, lte=1_000_000))] = 100


def serve_fake(options: ListenOptions, *, as_json: bool) -> None:
    """Serve a fake until a signal ends the program.

    Raises:
        CouldNotStart: The port is in use or not permitted.
        KeyboardInterrupt: The user pressed Ctrl-C.
    """
    try:
        interruption.run(_serve(options, as_json=as_json))
    except interruption.Interrupted as ended:
        if ended.by == signal.SIGINT:
            raise


async def _serve(options: ListenOptions, *, as_json: bool) -> None:
    fake = FakeRingMe()
    fake.add_tenants(options.tenants)
    dealer = fake.add_dealer()
    async with AsyncExitStack() as stack:
        try:
            server = fake.serve(host=options.host, port=options.port)
            url = await stack.enter_async_context(server)
        except OSError as error:
            raise CouldNotStart(_reason(options, error)) from None
        for everywhere, here in _EVERYWHERE.items():
            url = url.replace(everywhere, here)
        _show(url, dealer, options, as_json=as_json)
        await asyncio.Event().wait()


def _reason(options: ListenOptions, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {options.port} of {options.host} is in use; --port 0 takes a free one"
    # Resolver errors, such as an unknown host name, have negative numbers.
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return f"the fake cannot listen on port {options.port} of {options.host}: {reason}"


def _show(url: str, dealer: FakeApplication, options: ListenOptions, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "base_url": url,
                "app_id": dealer.app_id,
                "app_secret": dealer.app_secret,
                "tenants": options.tenants,
                "openapi": f"{url}/openapi.json",
                "docs": f"{url}/docs",
            }
        )
    else:
        print(_welcome_text(url, dealer, options))
    sys.stdout.flush()


def _welcome_text(url: str, dealer: FakeApplication, options: ListenOptions) -> str:
    clients = "one client" if options.tenants == 1 else f"{options.tenants:,} clients"
    client = f"{url}/api/ver1.0/client/1/client/"
    return f"""\
A fake RingMe with {clients} listens on {url}

  App ID       {dealer.app_id}
  App Secret   {dealer.app_secret}
  try calls    {url}/docs
  OpenAPI      {url}/openapi.json

In another terminal, for ringme, and for programs that say RingMe.from_env():

export RINGME_BASE_URL={url}
export RINGME_APP_ID={dealer.app_id}
export RINGME_APP_SECRET={dealer.app_secret}

And with curl, log in, read a client, and change it:

TOKEN=$(curl -s --compressed {url}/oauth/token \\
  -d grant_type=client_credentials \\
  -d client_id={dealer.app_id} \\
  -d client_secret={dealer.app_secret} \\
  | {_TOKEN})
curl -s --compressed -H "Authorization: Bearer $TOKEN" {client}
curl -s --compressed -H "Authorization: Bearer $TOKEN" -X PUT \\
  -H "Content-Type: application/json" -d '{{"timezone": "Asia/Omsk"}}' \\
  {client}

Ctrl-C ends it, and all that was changed is forgotten."""

"""The fake as a server, for curl and for people who write in other languages."""

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

__all__ = ["Place", "serve_fake"]

# What is listened on at every address is reached at this machine's own.
_EVERYWHERE: Final = {"//0.0.0.0:": "//127.0.0.1:", "//[::]:": "//[::1]:"}
_TOKEN: Final = r"""sed 's/.*"access_token": "\([^"]*\)".*/\1/'"""


@frozen
class Place:
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


def serve_fake(place: Place, *, as_json: bool) -> None:
    """Serve a fake until somebody ends the program.

    Raises:
        CouldNotStart: The port is taken, or is not ours to have.
        KeyboardInterrupt: Somebody has pressed Ctrl-C.
    """
    try:
        interruption.run(_serve(place, as_json=as_json))
    except interruption.Interrupted as ended:
        if ended.by == signal.SIGINT:
            raise


async def _serve(place: Place, *, as_json: bool) -> None:
    fake = FakeRingMe()
    fake.add_tenants(place.tenants)
    dealer = fake.add_dealer()
    async with AsyncExitStack() as stack:
        try:
            server = fake.serve(host=place.host, port=place.port)
            url = await stack.enter_async_context(server)
        except OSError as error:
            raise CouldNotStart(_reason(place, error)) from None
        for everywhere, here in _EVERYWHERE.items():
            url = url.replace(everywhere, here)
        _show(url, dealer, place, as_json=as_json)
        await asyncio.Event().wait()


def _reason(place: Place, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {place.port} of {place.host} is in use; --port 0 takes a free one"
    # What is not the system's own error, such as a name that nobody knows, has a negative number.
    told = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return f"the fake cannot listen on port {place.port} of {place.host}: {told}"


def _show(url: str, dealer: FakeApplication, place: Place, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "base_url": url,
                "app_id": dealer.app_id,
                "app_secret": dealer.app_secret,
                "tenants": place.tenants,
                "openapi": f"{url}/openapi.json",
                "docs": f"{url}/docs",
            }
        )
    else:
        print(_told(url, dealer, place))
    sys.stdout.flush()


def _told(url: str, dealer: FakeApplication, place: Place) -> str:
    clients = "one client" if place.tenants == 1 else f"{place.tenants:,} clients"
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

"""A web service that shows clients, with one shared RingMe.

Run it as ``python service.py 8000`` and look at http://127.0.0.1:8000/clients/12. Host and credentials
come from the environment, as in read_one.py.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator

from aiohttp import web

from ringme_async import ClientNotFound, InvalidRequest, RateLimited, RingMe, RingMeError

RINGME = web.AppKey("ringme", RingMe)


async def one_ringme(app: web.Application) -> AsyncIterator[None]:
    """Open a RingMe for as long as the service runs."""
    async with RingMe.from_env(timeout=10) as ringme:
        app[RINGME] = ringme
        yield


async def show(request: web.Request) -> web.Response:
    """Answer with a client, or with what went wrong."""
    try:
        client = await request.app[RINGME].clients.get(request.match_info["id"])
    except InvalidRequest as error:
        raise web.HTTPBadRequest(text=error.reason) from None
    except ClientNotFound:
        raise web.HTTPNotFound(text="no such client") from None
    except RateLimited as error:
        raise web.HTTPServiceUnavailable(
            headers={"Retry-After": f"{error.reset_after:.0f}"}
        ) from error
    except RingMeError as error:
        raise web.HTTPBadGateway(text=type(error).__name__) from error
    return web.json_response({"id": client.id, "name": client.name})


def make_app() -> web.Application:
    """Put the service together."""
    app = web.Application()
    app.cleanup_ctx.append(one_ringme)
    app.router.add_get("/clients/{id}", show)
    return app


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    web.run_app(make_app(), host="127.0.0.1", port=int(sys.argv[1]))

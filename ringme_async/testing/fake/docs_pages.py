"""The pages of a fake on a socket: the OpenAPI description, and a page to try calls on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiohttp import web

from ringme_async.testing.fake.client_schema import JSON

Describe = Callable[[str], Mapping[str, JSON]]
"""Returns the OpenAPI description of the API at a base URL."""

_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "oauth2-redirect.html": "text/html",
    "oauth2-redirect.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}
_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>RingMe, a fake</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="calls"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
# validatorUrl is null, so that the page contacts this server alone.
_START: Final = """const page = SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#calls",
  validatorUrl: null,
  tryItOutEnabled: true,
  persistAuthorization: true,
  defaultModelsExpandDepth: 0,
  oauth2RedirectUrl: location.origin + "/docs/oauth2-redirect.html",
});
page.initOAuth({ scopes: "all" });
"""
_WITHOUT_ASSETS: Final = (
    "The page needs: pip install 'ringme-async[fake]'\n"
    "The description is there without it, at /openapi.json\n"
)
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline';"
        " img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}


def page_at(request: web.BaseRequest, describe: Describe) -> web.Response | None:
    """Answer a request for a page; None if the request is for the API.

    The pages are not part of RingMe. They have no limits, no faults and no journal.
    """
    if request.method not in {"GET", "HEAD"}:
        return None
    if request.path == "/openapi.json":
        described = describe(f"{request.scheme}://{request.host}")
        return _answer(json.dumps(described, indent=1), "application/json")
    if request.path == "/docs" or request.path.startswith("/docs/"):
        return _page(request.path.removeprefix("/docs").removeprefix("/"))
    return None


def _page(name: str) -> web.Response | None:
    if name not in {"", "start.js", *_ASSETS}:
        return None
    spec = find_spec("flask_swagger_ui")
    if spec is None or spec.origin is None:
        return _answer(_WITHOUT_ASSETS, "text/plain", 501)
    if name == "":
        return _answer(_PAGE, "text/html")
    if name == "start.js":
        return _answer(_START, "text/javascript")
    # Read its files only: importing the package would import flask.
    asset = Path(spec.origin).parent / "dist" / name
    return web.Response(body=asset.read_bytes(), content_type=_ASSETS[name], headers=_HEADERS)


def _answer(text: str, kind: str, status: int = 200) -> web.Response:
    return web.Response(
        status=status, text=text, content_type=kind, charset="utf-8", headers=_HEADERS
    )

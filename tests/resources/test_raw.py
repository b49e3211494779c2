"""Calls to the rest of the API: what could never be right is refused before anything is sent."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringme_async import ApiError, BearerToken, InvalidRequest, NotFound, Response, RingMe
from ringme_async._internal.text import shown
from tests.scripted import ScriptedTransport, record

PATH = "/client/@me/extension/"


@pytest.fixture
def transport() -> ScriptedTransport:
    return ScriptedTransport([record()])


@pytest.fixture
async def ringme(transport: ScriptedTransport) -> AsyncIterator[RingMe]:
    async with RingMe(
        "https://pbx.example.com", auth=BearerToken("token"), transport=transport
    ) as opened:
        yield opened
    if transport.requests:
        assert transport.requests[-1].url.startswith(f"https://pbx.example.com/api/ver1.0{PATH}")


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
async def test_connect_and_trace_are_refused(
    ringme: RingMe, transport: ScriptedTransport, method: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{method} is about the way to a server"):
        await ringme.request(method, PATH)

    assert transport.requests == []


@pytest.mark.parametrize("method", [None, 5, b"GET", ["GET"]], ids=repr)
async def test_a_method_that_is_no_text_is_refused(
    ringme: RingMe, transport: ScriptedTransport, method: Any
) -> None:
    with pytest.raises(InvalidRequest, match="a method is in capitals"):
        await ringme.request(method, PATH)
    assert transport.requests == []


@pytest.mark.parametrize("path", [None, 5, b"/client/", ["/client/"]], ids=repr)
async def test_a_path_that_is_no_text_is_refused(
    ringme: RingMe, transport: ScriptedTransport, path: Any
) -> None:
    with pytest.raises(InvalidRequest, match="a path starts with /"):
        await ringme.request("GET", path)
    assert transport.requests == []


@pytest.mark.parametrize(
    ("params", "flaw"),
    [
        ({"q": "\ud800"}, "params: 'q' cannot be sent"),
        ({"\udfff": "q"}, "the name of a parameter is a string, not '"),
        ({5: "q"}, "the name of a parameter is a string, not 5"),
        ({"q": None}, "params: 'q' is a string or an integer, not None"),
        ({"q": True}, "params: 'q' is a string or an integer, not True"),
        ({"q": 1.5}, "params: 'q' is a string or an integer, not 1.5"),
        ({"q": 10**5_000}, "params: 'q' cannot be sent: an integer of 16610 bits"),
        ([("q", "1")], "params is a mapping, not"),
        ("q=1", "params is a mapping, not 'q=1'"),
    ],
    ids=lambda value: shown(value)[:30],
)
async def test_a_query_that_cannot_be_sent_is_refused(
    ringme: RingMe, transport: ScriptedTransport, params: Any, flaw: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await ringme.request("GET", PATH, params=params)
    assert str(caught.value).startswith(flaw)
    assert transport.requests == []


async def test_a_query_is_sent_escaped(ringme: RingMe, transport: ScriptedTransport) -> None:
    await ringme.request("GET", PATH, params={"q": "a&b=\u044f", "page": 2})
    assert transport.requests[0].url.endswith(f"{PATH}?q=a%26b%3D%D1%8F&page=2")


async def test_an_empty_query_is_none(ringme: RingMe, transport: ScriptedTransport) -> None:
    await ringme.request("GET", PATH, params={})
    assert transport.requests[0].url.endswith(PATH)


@pytest.mark.parametrize(
    "body", [object(), float("nan"), {1, 2}, {(1, 2): 3}, nested(100_000), 10**5_000], ids=type
)
async def test_a_body_that_is_no_json_is_refused(
    ringme: RingMe, transport: ScriptedTransport, body: Any
) -> None:
    with pytest.raises(InvalidRequest, match="the body is no JSON"):
        await ringme.request("POST", PATH, json=body)
    assert transport.requests == []


async def test_a_tenant_of_another_class_is_refused(
    ringme: RingMe, transport: ScriptedTransport
) -> None:
    name: Any = "acme"
    with pytest.raises(InvalidRequest, match="tenant is a Tenant, not a str"):
        await ringme.request("GET", PATH, tenant=name)
    assert transport.requests == []


NOT_FOUND = Response(404, {}, b'{"status": "not_found", "message": "no"}')


BEGINS = "the path begins with {}, which request() adds itself"
ENDS = "does not end with /, as the paths of the API do"


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/client/@me/extension", f"the path {ENDS}: try '/client/@me/extension/'"),
        ("/api/ver1.0/client/", f"{BEGINS.format('/api/ver1.0')}: try '/client/'"),
        ("/api/ver1.0/client", f"{BEGINS.format('/api/ver1.0')} and {ENDS}: try '/client/'"),
        ("/ver1.0/client/", f"{BEGINS.format('/ver1.0')}: try '/client/'"),
        ("/api/client/", f"{BEGINS.format('/api')}: try '/client/'"),
        ("/api/ver1.0", f"{BEGINS.format('/api/ver1.0')} and {ENDS}: try '/'"),
        ("/client/@me/nothing/", NotFound.advice),
        ("/apis/", NotFound.advice),
    ],
)
async def test_a_404_names_what_is_unusual_about_the_path(path: str, advice: str) -> None:
    transport = ScriptedTransport([NOT_FOUND])
    async with RingMe("https://a", auth=BearerToken("token"), transport=transport) as ringme:
        with pytest.raises(NotFound) as caught:
            await ringme.request("GET", path)
    assert caught.value.next_step == advice
    assert pickle.loads(pickle.dumps(caught.value)).next_step == advice
    (request,) = transport.requests
    assert request.url == f"https://a/api/ver1.0{path}"


async def test_a_redirect_names_the_missing_slash_of_the_path() -> None:
    transport = ScriptedTransport([Response(301, {"location": "/client/"})])
    async with RingMe("https://a", auth=BearerToken("token"), transport=transport) as ringme:
        with pytest.raises(ApiError) as caught:
            await ringme.request("GET", "/client")
    assert caught.value.next_step.endswith("try '/client/'")


@pytest.mark.parametrize("status", [400, 403, 404])
async def test_other_errors_say_nothing_of_the_path(status: int) -> None:
    refusal = Response(status, {}, b'{"status": "client_not_found", "message": "no"}')
    transport = ScriptedTransport([refusal])
    async with RingMe("https://a", auth=BearerToken("token"), transport=transport) as ringme:
        with pytest.raises(ApiError) as caught:
            await ringme.request("GET", "/client/5/extension")
    assert "path" not in str(caught.value)

"""RingMe: the parts put together, their lifetime, and the rest of the API."""

from __future__ import annotations

from typing import Any

import pytest

from ringme_async import (
    BearerToken,
    DecodeError,
    InvalidRequest,
    NotFound,
    RingMe,
    Tenant,
    TokenStore,
)
from ringme_async.transports import Response
from tests.scripted import ScriptedTransport, record, refusal

AUTH = BearerToken("t0ken")
URL = "https://pbx.example.com"


async def test_leaving_the_block_closes_the_transport() -> None:
    transport = ScriptedTransport([record()])

    async with RingMe(URL, auth=AUTH, transport=transport):
        assert transport.closed == 0

    assert transport.closed == 1


async def test_the_transport_is_closed_even_if_the_token_store_cannot_be() -> None:
    class Unclosable(TokenStore):
        async def aclose(self) -> None:
            raise RuntimeError("cannot be closed")

    transport = ScriptedTransport([record()])
    ringme = RingMe(URL, auth=AUTH, transport=transport, tokens=Unclosable())

    with pytest.raises(RuntimeError, match="cannot be closed"):
        await ringme.aclose()

    assert transport.closed == 1


async def test_a_ringme_can_be_used_without_a_block_and_closed_by_hand() -> None:
    transport = ScriptedTransport([record(id=12)])
    ringme = RingMe(URL, auth=AUTH, transport=transport)

    assert (await ringme.clients.get(12)).id == 12
    await ringme.aclose()

    assert transport.closed == 1


def test_its_repr_names_the_host_and_no_secret() -> None:
    transport = ScriptedTransport([record()])

    assert repr(RingMe(URL, auth=AUTH, transport=transport)) == f"<RingMe {URL}>"
    assert repr(RingMe(transport=transport)) == "<RingMe of many hosts>"
    assert repr(RingMe(URL, auth=AUTH, transport=transport).clients) == f"<Clients of {URL}>"
    assert repr(RingMe(transport=transport).clients) == "<Clients of many hosts>"


class TestARequestToTheRestOfTheApi:
    async def test_goes_below_the_root_with_query_and_body(self) -> None:
        transport = ScriptedTransport([Response(201, {}, b'{"id": 5}')])
        async with RingMe(URL, auth=AUTH, transport=transport) as ringme:
            answer = await ringme.request(
                "POST", "/client/@me/extension/", params={"a": "b c", "n": 1}, json={"name": "x"}
            )

        (sent,) = transport.requests
        assert sent.url == f"{URL}/api/ver1.0/client/@me/extension/?a=b+c&n=1"
        assert sent.body == b'{"name": "x"}'
        assert answer.json() == {"id": 5}

    async def test_raises_what_the_server_refuses(self) -> None:
        transport = ScriptedTransport([refusal(404)])
        async with RingMe(URL, auth=AUTH, transport=transport) as ringme:
            with pytest.raises(NotFound):
                await ringme.request("GET", "/client/@me/nothing/", idempotent=True, timeout=5)

    async def test_can_use_the_credentials_of_a_tenant(self) -> None:
        transport = ScriptedTransport([record()])
        tenant = Tenant(auth=BearerToken("tenants"))
        async with RingMe(URL, auth=AUTH, transport=transport) as ringme:
            await ringme.request("GET", "/client/@me/extension/", tenant=tenant, on_quota="wait")

        assert transport.requests[0].headers["authorization"] == "Bearer tenants"

    @pytest.mark.parametrize(
        "path",
        [
            "",
            "client/",
            "//evil.example/",
            "/../oauth/token",
            "/client/../../oauth/token",
            "/client/./x",
            "/a//b",
            "/client/?x=1",
            "/client/#f",
            "/a b",
            "/%2e%2e/",
            "/\r\nX: y",
            "/\u043f",
            "https://evil.example/",
            "/a\\b",
        ],
        ids=repr,
    )
    async def test_with_a_hostile_path_is_refused_before_anything_is_sent(self, path: str) -> None:
        transport = ScriptedTransport([record()])
        async with RingMe(URL, auth=AUTH, transport=transport) as ringme:
            with pytest.raises(InvalidRequest, match="a path starts with /"):
                await ringme.request("GET", path)

        assert transport.requests == []

    @pytest.mark.parametrize("method", ["", "get", "GET\r\n", "G E T", "\u0413"])
    async def test_with_a_malformed_method_is_refused(self, method: str) -> None:
        async with RingMe(URL, auth=AUTH, transport=ScriptedTransport([record()])) as ringme:
            with pytest.raises(InvalidRequest, match="a method is in capitals"):
                await ringme.request(method, "/client/")

    @pytest.mark.parametrize(
        "body", [object(), float("nan"), {1, 2}], ids=["an object", "nan", "a set"]
    )
    async def test_with_a_body_that_is_no_json_is_refused(self, body: Any) -> None:
        async with RingMe(URL, auth=AUTH, transport=ScriptedTransport([record()])) as ringme:
            with pytest.raises(InvalidRequest, match="the body is no JSON"):
                await ringme.request("POST", "/client/", json=body)


def test_a_response_that_is_no_json_says_so_when_it_is_read_as_json() -> None:
    with pytest.raises(DecodeError):
        Response(200, {}, b"<html>").json()

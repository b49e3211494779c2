"""Reading and changing one client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from ringme_async import (
    BearerToken,
    Client,
    ClientCredentials,
    ClientUpdate,
    DecodeError,
    InvalidRequest,
    Response,
    RingMe,
    Tenant,
)
from tests.scripted import ScriptedTransport, record
from tests.test_tenant import HOSTILE_IDS

DEALER = BearerToken("dealers")
OMSK = ClientUpdate(timezone="Asia/Omsk")


@pytest.fixture
def transport() -> ScriptedTransport:
    return ScriptedTransport([record(id=12)])


@pytest.fixture
async def ringme(transport: ScriptedTransport) -> AsyncIterator[RingMe]:
    async with RingMe("https://pbx.example.com", auth=DEALER, transport=transport) as opened:
        yield opened


@pytest.mark.parametrize(
    ("who", "path"),
    [
        (12, "/client/12/client/"),
        ("12", "/client/12/client/"),
        ("@me", "/client/@me/client/"),
        (Tenant(12), "/client/12/client/"),
        (Tenant(), "/client/@me/client/"),
    ],
)
async def test_a_client_is_read_at_its_path(
    ringme: RingMe, transport: ScriptedTransport, who: int | str | Tenant, path: str
) -> None:
    client = await ringme.clients.get(who)

    assert isinstance(client, Client)
    assert transport.requests[0].url == f"https://pbx.example.com/api/ver1.0{path}"


@pytest.mark.parametrize("method", ["get", "update"])
async def test_the_other_url_form_can_be_chosen_for_a_ringme_as_a_whole(
    transport: ScriptedTransport, method: str
) -> None:
    base_url = "https://pbx.example.com"
    async with RingMe(base_url, auth=DEALER, transport=transport, url_form="client_info") as ringme:
        if method == "get":
            await ringme.clients.get(12)
        else:
            await ringme.clients.update(12, OMSK)

    assert transport.requests[0].url == f"{base_url}/api/ver1.0/client/client_info/12/"


async def test_an_update_sends_its_fields_and_null_for_cleared_ones(
    ringme: RingMe, transport: ScriptedTransport
) -> None:
    await ringme.clients.update(12, ClientUpdate(timezone="Asia/Omsk", hold_music=None))

    (sent,) = transport.requests
    assert sent.method == "PUT"
    assert sent.body == b'{"hold_music":null,"timezone":"Asia/Omsk"}'


async def test_an_update_gives_the_record_as_it_is_now(transport: ScriptedTransport) -> None:
    transport.script[:] = [record(id=12, timezone="Asia/Omsk")]
    async with RingMe("https://pbx.example.com", auth=DEALER, transport=transport) as ringme:
        client = await ringme.clients.update(12, OMSK)

    assert client.timezone == "Asia/Omsk"


@pytest.mark.parametrize("who", HOSTILE_IDS, ids=range(len(HOSTILE_IDS)))
async def test_a_hostile_id_is_refused_before_anything_is_sent(
    ringme: RingMe, transport: ScriptedTransport, who: Any
) -> None:
    with pytest.raises(InvalidRequest):
        await ringme.clients.get(who)
    with pytest.raises(InvalidRequest):
        await ringme.clients.update(who, OMSK)

    assert transport.requests == []


async def test_an_update_that_names_nothing_is_refused(
    ringme: RingMe, transport: ScriptedTransport
) -> None:
    with pytest.raises(InvalidRequest, match="nothing"):
        await ringme.clients.update(12, ClientUpdate())

    assert transport.requests == []


async def test_an_update_that_is_no_client_update_is_refused(
    ringme: RingMe, transport: ScriptedTransport
) -> None:
    change: Any = {"timezone": "Asia/Omsk"}

    with pytest.raises(InvalidRequest, match="an update is a ClientUpdate, not a dict"):
        await ringme.clients.update(12, change)

    assert transport.requests == []


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), True, "5"], ids=repr)
async def test_an_invalid_timeout_is_refused(ringme: RingMe, timeout: Any) -> None:
    with pytest.raises(InvalidRequest, match="timeout must be a number of seconds above 0"):
        await ringme.clients.get(12, timeout=timeout)


@pytest.mark.parametrize("word", ["sleep", "", [], False], ids=repr)
async def test_an_unknown_on_quota_is_refused(ringme: RingMe, word: Any) -> None:
    with pytest.raises(InvalidRequest, match='on_quota must be "raise" or "wait"'):
        await ringme.clients.get(12, on_quota=word)


class TestATenant:
    own = ClientCredentials("app", "secret")

    async def test_with_credentials_of_its_own_is_reached_with_them(
        self, ringme: RingMe, transport: ScriptedTransport
    ) -> None:
        await ringme.clients.get(Tenant(auth=BearerToken("tenants")))

        assert transport.requests[0].headers["authorization"] == "Bearer tenants"

    async def test_with_a_host_of_its_own_is_reached_there(
        self, ringme: RingMe, transport: ScriptedTransport
    ) -> None:
        await ringme.clients.get(Tenant(auth=self.own, base_url="https://other.example"))

        assert transport.logins[0].url == "https://other.example/oauth/token"
        assert transport.requests[0].url.startswith("https://other.example/api/ver1.0/")

    async def test_at_another_host_never_gets_the_credentials_of_the_ringme(
        self, ringme: RingMe, transport: ScriptedTransport
    ) -> None:
        with pytest.raises(InvalidRequest, match="another host than RingMe's"):
            await ringme.clients.get(Tenant(12, base_url="https://other.example"))

        assert transport.requests == []

    async def test_at_the_same_host_in_another_spelling_gets_the_credentials_of_the_ringme(
        self, ringme: RingMe, transport: ScriptedTransport
    ) -> None:
        await ringme.clients.get(Tenant(12, base_url="https://PBX.example.com:443/"))

        assert transport.requests[0].headers["authorization"] == "Bearer dealers"

    async def test_without_credentials_anywhere_is_refused(
        self, transport: ScriptedTransport
    ) -> None:
        async with RingMe("https://pbx.example.com", transport=transport) as ringme:
            with pytest.raises(InvalidRequest, match="no credentials"):
                await ringme.clients.get(Tenant(12))

    async def test_with_credentials_and_without_a_host_anywhere_is_refused(
        self, transport: ScriptedTransport
    ) -> None:
        async with RingMe(auth=DEALER, transport=transport) as ringme:
            with pytest.raises(InvalidRequest, match="no base_url"):
                await ringme.clients.get(Tenant(12, auth=self.own))

    async def test_without_a_host_anywhere_is_refused(self, transport: ScriptedTransport) -> None:
        async with RingMe(auth=DEALER, transport=transport) as ringme:
            with pytest.raises(InvalidRequest, match="no base_url"):
                await ringme.clients.get(12)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", None),
        (b'{"id": 12, "hold_music": 1e400}', "hold_music"),
        (b"[" * 100_000, None),
        (b'{"id": 12, "x": ' + b"[" * 100_000, "x"),
        (b'{"id": 12, "name": "\xff"}', "name"),
    ],
    ids=["a list", "a number", "deep", "a deep field", "no UTF-8"],
)
async def test_a_lasting_refusal_is_requested_once(body: bytes, field: str | None) -> None:
    transport = ScriptedTransport([Response(200, {}, body)])
    async with RingMe("https://a.example", auth=BearerToken("t"), transport=transport) as ringme:
        with pytest.raises(DecodeError) as caught:
            await ringme.clients.update(12, ClientUpdate(timezone="Asia/Omsk"))

    assert caught.value.field == field
    assert caught.value.maybe_applied
    assert len(transport.requests) == 1

"""Network settings: from options, from the environment, and without secrets in messages."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from ringme_async.cli.codes import ExitCode
from ringme_async.cli.errors import CouldNotStart, WrongUsage
from ringme_async.cli.network import Network, read_network
from ringme_async.testing import FakeRingMe
from tests.cli.conftest import Here
from tests.cli.shell import SECRET, Shell
from tests.transports import certificates
from tests.wire import Peer, answer, serving

PROXY = "http://proxy.example.com:3128"
WITH_PASSWORD = "http://user:pw-s3cret@proxy.example.com:3128"


@pytest.fixture
def ca(tmp_path: Path) -> str:
    path = tmp_path / "company-ca.pem"
    certificates.OURS.cert_pem.write_to_path(str(path))
    return str(path)


def test_by_default_a_command_uses_no_proxy_and_the_systems_cas() -> None:
    assert read_network(None, None, {"RINGME_PROXY": "", "RINGME_CA": ""}) == Network(None, None)


def test_an_option_wins_over_the_environment(ca: str) -> None:
    environ = {"RINGME_PROXY": WITH_PASSWORD, "RINGME_CA": "nowhere.pem"}
    network = read_network(PROXY, ca, environ)
    assert network.proxy == PROXY
    assert isinstance(network.trust, ssl.SSLContext)


def test_the_environment_may_hold_the_password_of_a_proxy(ca: str) -> None:
    network = read_network(None, None, {"RINGME_PROXY": WITH_PASSWORD, "RINGME_CA": ca})
    assert network.proxy == WITH_PASSWORD
    assert "s3cret" not in repr(network)


def test_servers_are_verified_and_the_ca_is_trusted_beside_the_systems(ca: str) -> None:
    trust = read_network(None, ca, {}).trust
    assert trust is not None
    assert (trust.verify_mode, trust.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(trust.get_ca_certs()) >= len(ssl.create_default_context().get_ca_certs()) + 1


async def test_a_password_on_the_command_line_is_refused_and_nothing_is_sent(
    here: Here, shell: Shell
) -> None:
    ended = await here("get", "1", "--proxy", WITH_PASSWORD)
    assert (ended.code, ended.out) == (ExitCode.WRONG_USAGE, "")
    assert (
        ended.err == "ringme: --proxy: a secret is never an argument; RINGME_PROXY may hold one\n"
    )
    assert shell.fake.requests.total == 0


@pytest.mark.parametrize("proxy", ["", "proxy:3128", "http://user:s3cret@[::1"])
def test_a_malformed_proxy_is_reported_without_showing_it(proxy: str) -> None:
    with pytest.raises(WrongUsage, match=r"^--proxy: proxy must be a URL") as caught:
        read_network(proxy, None, {})
    assert "s3cret" not in str(caught.value)


def test_a_malformed_proxy_in_the_environment_is_reported_without_showing_it() -> None:
    with pytest.raises(CouldNotStart, match=r"^RINGME_PROXY: proxy must be a URL") as caught:
        read_network(None, None, {"RINGME_PROXY": "user:s3cret@proxy"})
    assert "s3cret" not in str(caught.value)


def test_an_unreadable_ca_is_reported(tmp_path: Path) -> None:
    text = tmp_path / "ca.txt"
    text.write_text("no certificate")
    with pytest.raises(CouldNotStart, match=r"^--ca: nowhere\.pem: No such file"):
        read_network(None, "nowhere.pem", {"RINGME_CA": str(text)})
    with pytest.raises(CouldNotStart, match=r"^RINGME_CA: .*ca\.txt: there is no certificate in"):
        read_network(None, None, {"RINGME_CA": str(text)})


async def test_a_command_trusts_a_companys_ca(here: Here, shell: Shell, ca: str) -> None:
    fake = FakeRingMe()
    fake.add_tenants(1)
    fake.add_dealer("dealer", SECRET)
    async with fake.serve(ssl_context=certificates.of_server("127.0.0.1")) as url:
        shell.variables["RINGME_BASE_URL"] = url
        without = await here("get", "1")
        assert without.code == ExitCode.SOME_FAILED
        assert "certificate" in without.err
        assert "name that CA with --ca" in without.err
        assert "ssl=" not in without.err
        assert (await here("get", "1", "--ca", ca)).code == ExitCode.ALL_WELL
        shell.variables["RINGME_CA"] = ca
        assert (await here("get", "1")).code == ExitCode.ALL_WELL


async def test_a_command_goes_through_a_proxy_whose_password_it_does_not_show(
    here: Here, shell: Shell
) -> None:
    asked: list[bytes] = []

    async def refuse(peer: Peer) -> None:
        asked.append(await peer.request())
        await peer.send(answer(status="407 Proxy Authentication Required"))

    async with serving(refuse) as proxy:
        shell.variables |= {
            "RINGME_BASE_URL": "https://pbx.example.com",
            "RINGME_PROXY": f"http://user:s3cret@127.0.0.1:{proxy.port}",
        }
        ended = await here("get", "1")
    assert ended.code == ExitCode.SOME_FAILED
    message = f"the proxy 127.0.0.1:{proxy.port} gives no way to pbx.example.com:443: status 407"
    assert message in ended.err
    assert asked[0].startswith(b"CONNECT pbx.example.com:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpzM2NyZXQ=\r\n" in asked[0]

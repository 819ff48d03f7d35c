"""Redirects and where they may lead: docs/http.md H52 to H57: other hosts, schemes, secrets."""

from __future__ import annotations

import ipaddress

import pytest
from support.faultserver import FaultServer, head, redirect, send, stall
from support.fetching import QUICK, fetch, fetch_until_error

from kithara.errors import PolicyDenied, ProtocolViolation, RedirectRejected, RepresentationChanged
from kithara.net import HttpClient, HttpOptions, Origin, Representation, Trust
from kithara.net.policy import Address

DATA = b"0123456789"
SECRETS = {"Cookie": "session=1", "X-Api-Key": "k3y", "X-Anything": "mine"}


def second_is_private(address: Address) -> bool:
    """For these tests 127.0.0.1 is the public internet and 127.0.0.2 an inner network."""
    return address != ipaddress.IPv4Address("127.0.0.1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_followed(server: FaultServer, status: int) -> None:
    server.on("/old", redirect("/new?x=1", status))
    server.serve("/new", DATA)
    async with HttpClient(QUICK) as client, client.stream(server.url("/old"), 2, 5) as body:
        assert body.url == server.url("/new?x=1")
        assert b"".join([piece async for piece in body]) == b"234"
    assert server.requests[1].range == (2, 5)


async def test_a_loop_of_redirects_ends_at_the_limit(server: FaultServer) -> None:  # H52
    server.on("/", redirect("/"))
    async with HttpClient(HttpOptions(redirects=3)) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, RedirectRejected)
    assert not error.retryable
    assert len(server.requests) == 4


async def test_a_chain_within_the_limit_is_followed(server: FaultServer) -> None:  # H52
    for step in range(5):
        server.on(f"/{step}", redirect(f"/{step + 1}"))
    server.serve("/5", DATA)
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url("/0")) == DATA


@pytest.mark.parametrize("how", ["host", "port"])
@pytest.mark.parametrize("given", ["userinfo", "auth", "client", "call", "authorization"])
async def test_secrets_do_not_cross_to_another_origin(server: FaultServer, elsewhere: FaultServer, how, given) -> None:
    # H53
    with FaultServer() as neighbour:
        other = elsewhere if how == "host" else neighbour
        server.on("/", redirect(other.url("/")))
        other.serve("/", DATA)
        url = server.url(userinfo="me:pa%20ss") if given == "userinfo" else server.url()
        secrets = {**SECRETS, "Authorization": "Bearer t0ken"} if given == "authorization" else SECRETS
        call = secrets if given in ("call", "authorization") else None
        async with HttpClient(QUICK, headers=SECRETS if given == "client" else None) as client:
            auth = ("me", "pa ss") if given == "auth" else None
            assert await fetch(client, url, 2, 5, headers=call, auth=auth) == b"234"
        expected = {
            "userinfo": {"authorization": "Basic bWU6cGEgc3M="},
            "auth": {"authorization": "Basic bWU6cGEgc3M="},
            "client": {name.lower(): value for name, value in SECRETS.items()},
            "call": {name.lower(): value for name, value in SECRETS.items()},
            "authorization": {name.lower(): value for name, value in secrets.items()},
        }[given]
        allowed = {"host", "user-agent", "accept", "accept-encoding", "range"}
        first, second = dict(server.requests[0].headers), dict(other.requests[0].headers)
        assert {name: first[name] for name in first.keys() - allowed} == expected
        assert second.keys() - allowed == set()


async def test_secrets_stay_off_even_when_a_stranger_leads_back_home(server, elsewhere: FaultServer) -> None:
    server.on("/", redirect(elsewhere.url("/")))
    elsewhere.on("/", redirect(server.url("/delete?everything=1")))
    server.serve("/delete", DATA)
    async with HttpClient(QUICK, headers=SECRETS) as client:
        await fetch(client, server.url())
    assert "cookie" in dict(server.requests[0].headers)
    assert "cookie" not in dict(server.requests[1].headers)


async def test_secrets_follow_a_redirect_within_their_origin(server: FaultServer) -> None:
    server.on("/", redirect("/there"))
    server.serve("/there", DATA)
    async with HttpClient(QUICK) as client:
        await fetch(client, server.url(userinfo="me:pass"), headers=SECRETS)
    first, second = (dict(request.headers) for request in server.requests)
    assert first == second


async def test_harmless_headers_go_everywhere(server: FaultServer, elsewhere: FaultServer) -> None:  # H53
    mine = {"User-Agent": "mine/1", "Accept-Language": "de", "Accept": "audio/*"}
    server.on("/", redirect(elsewhere.url("/")))
    elsewhere.serve("/", DATA)
    async with HttpClient(QUICK) as client:
        await fetch(client, server.url(), headers=mine)
    sent = dict(elsewhere.requests[0].headers)
    assert {name: sent[name.lower()] for name in mine} == mine


async def test_no_request_carries_a_referer_or_a_cookie_it_was_handed(server: FaultServer) -> None:
    server.on("/", head(302, {"Set-Cookie": "track=1"}, length=0, location="/there"))
    server.serve("/there", DATA, headers={"Set-Cookie": "track=2"})
    async with HttpClient(QUICK) as client:
        await fetch(client, server.url())
        await fetch(client, server.url("/there"))
    names = {name for request in server.requests for name, _ in request.headers}
    assert {"referer", "cookie"} & names == set()


async def test_user_info_in_a_location_is_not_used(server: FaultServer, elsewhere: FaultServer) -> None:
    server.on("/", redirect(elsewhere.url("/", userinfo="planted:password")))
    elsewhere.serve("/", DATA)
    async with HttpClient(QUICK) as client:
        await fetch(client, server.url())
    assert "authorization" not in dict(elsewhere.requests[0].headers)


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://h/x", "data:audio/mpeg;base64,AAAA", "gopher://h/_x", "FILE:/etc/passwd"]
)
async def test_a_redirect_to_another_scheme_is_refused(server: FaultServer, location: str) -> None:  # H54
    server.on("/", redirect(location))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, RedirectRejected)
    assert len(server.requests) == 1


@pytest.mark.parametrize("location", [None, "", "http://:80/", "http://[::1", "http://h:99999/", "//@/", "http://a b/"])
async def test_a_redirect_without_a_usable_location_is_refused(server: FaultServer, location) -> None:  # H56
    server.on("/", head(302, length=0, location=location))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, ProtocolViolation)


@pytest.mark.parametrize("status", [300, 304, 305, 306, 399])
async def test_other_3xx_are_no_redirects(server: FaultServer, status: int) -> None:  # H56
    server.on("/", head(status, length=None if status == 304 else 0, location="/there"))
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, ProtocolViolation)
    assert len(server.requests) == 1


async def test_a_public_document_may_not_redirect_to_a_private_address(server, elsewhere: FaultServer) -> None:  # H55
    server.on("/", redirect(elsewhere.url()))
    async with HttpClient(QUICK, is_private=second_is_private) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, PolicyDenied)
    assert elsewhere.accepted == 0


@pytest.mark.parametrize("host", ["127.2", "2130706434", "0x7f.0.0.2", "0177.0.0.02", "[::ffff:127.0.0.2]", "[::1]"])
async def test_a_private_address_in_disguise_is_no_way_around(server, elsewhere: FaultServer, host: str) -> None:  # H55
    server.on("/", redirect(elsewhere.url(host=host)))
    async with HttpClient(QUICK, is_private=second_is_private) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, PolicyDenied)
    assert elsewhere.accepted == 0


async def test_a_name_that_resolves_to_a_private_address_is_no_way_around(server: FaultServer) -> None:  # H55
    def none_is_public(address: Address) -> bool:
        return True

    trust = Trust(origin=Origin("http", "127.0.0.1", 80), private=False, secure=False)
    async with HttpClient(QUICK, is_private=none_is_public) as client:
        _, error = await fetch_until_error(client, server.url(host="localhost"), trust=trust)
    assert isinstance(error, PolicyDenied)
    assert server.accepted == 0


@pytest.mark.parametrize(
    ("answers", "reached"),
    [(["127.0.0.1"], True), (["127.0.0.2"], False), (["127.0.0.2", "127.0.0.1"], True), (["127.0.0.2", "::1"], False)],
)
async def test_what_a_name_resolves_to_is_what_is_checked_and_connected_to(
    server: FaultServer, elsewhere: FaultServer, monkeypatch: pytest.MonkeyPatch, answers: list[str], reached: bool
) -> None:  # H55
    async def resolve(self: object, host: str, port: int = 0, family: int = 0) -> list[dict[str, object]]:
        told = {"hostname": host, "port": port, "family": family, "proto": 0, "flags": 0}
        return [{**told, "host": address} for address in answers]

    monkeypatch.setattr("kithara.net.connector.ThreadedResolver.resolve", resolve)
    server.serve("/", DATA)
    trust = Trust(origin=Origin("http", "list.example", 80), private=False, secure=False)
    async with HttpClient(QUICK, is_private=second_is_private) as client:
        if reached:
            assert await fetch(client, server.url(host="cdn.example"), trust=trust) == DATA
        else:
            _, error = await fetch_until_error(client, server.url(host="cdn.example"), trust=trust)
            assert isinstance(error, PolicyDenied)
    assert (server.accepted, elsewhere.accepted) == (int(reached), 0)


async def test_the_caller_may_name_a_private_address(elsewhere: FaultServer) -> None:
    elsewhere.serve("/", DATA)
    async with HttpClient(QUICK, is_private=second_is_private) as client:
        assert await fetch(client, elsewhere.url()) == DATA


async def test_a_private_document_may_lead_to_private_addresses(server, elsewhere: FaultServer) -> None:
    elsewhere.on("/", redirect(elsewhere.url("/more")))
    elsewhere.serve("/more", DATA)
    async with HttpClient(QUICK, is_private=second_is_private) as client:
        assert await fetch(client, elsewhere.url()) == DATA


async def test_the_way_from_private_over_public_to_private_is_closed(server, elsewhere: FaultServer) -> None:
    elsewhere.on("/", redirect(server.url()))
    server.on("/", redirect(elsewhere.url("/inner")))
    async with HttpClient(QUICK, is_private=second_is_private) as client:
        _, error = await fetch_until_error(client, elsewhere.url())
    assert isinstance(error, PolicyDenied)
    assert [request.path for request in elsewhere.requests] == ["/"]


async def test_private_addresses_open_by_option(server, elsewhere: FaultServer) -> None:
    server.on("/", redirect(elsewhere.url()))
    elsewhere.serve("/", DATA)
    async with HttpClient(HttpOptions(allow_private=True), is_private=second_is_private) as client:
        assert await fetch(client, server.url()) == DATA


async def test_private_addresses_close_by_option_even_to_the_caller(server: FaultServer) -> None:
    async with HttpClient(HttpOptions(allow_private=False)) as client:
        _, error = await fetch_until_error(client, server.url())
    assert isinstance(error, PolicyDenied)
    assert server.accepted == 0


async def test_a_document_takes_its_trust_along_to_what_it_names(server, elsewhere: FaultServer) -> None:
    server.on("/list", head(length=4), send(b"list"))
    async with HttpClient(QUICK, is_private=second_is_private) as client:
        listed = await client.get(server.url("/list"))
        _, error = await fetch_until_error(client, elsewhere.url("/segment"), trust=listed.trust)
    assert isinstance(error, PolicyDenied)
    assert elsewhere.accepted == 0


async def test_what_a_document_names_elsewhere_gets_no_secrets(server: FaultServer, elsewhere: FaultServer) -> None:
    server.on("/list", head(length=4), send(b"list"))
    server.serve("/here", DATA)
    elsewhere.serve("/there", DATA)
    async with HttpClient(QUICK, headers=SECRETS) as client:
        listed = await client.get(server.url("/list"))
        await fetch(client, server.url("/here"), trust=listed.trust)
        await fetch(client, elsewhere.url("/there"), trust=listed.trust)
    assert "cookie" in dict(server.requests[1].headers)
    assert {name.lower() for name in SECRETS} & dict(elsewhere.requests[0].headers).keys() == set()


async def test_what_a_secure_document_names_must_be_secure(server: FaultServer) -> None:  # H54
    trust = Trust(origin=Origin("https", "127.0.0.1", 443), private=True, secure=True)
    server.serve("/", DATA)
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, server.url(), trust=trust)
        assert isinstance(error, PolicyDenied)
        assert server.accepted == 0
    async with HttpClient(HttpOptions(allow_downgrade=True)) as client:
        assert await fetch(client, server.url(), trust=trust) == DATA


async def test_targets_that_differ_between_ranges_are_followed_and_compared(server: FaultServer) -> None:  # H57
    server.on("/", redirect("/edge1"))
    server.on("/", redirect("/edge2"))
    server.on("/", redirect("/edge3"))
    server.serve("/edge1", DATA)
    server.serve("/edge2", DATA)
    server.serve("/edge3", b"another123", etag='"v2"')
    held = Representation(total=10, etag='"v1"')
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 0, 5, representation=held) == b"01234"
        assert await fetch(client, server.url(), 5, 8, representation=held) == b"567"
        _, error = await fetch_until_error(client, server.url(), 8, 10, representation=held)
    assert isinstance(error, RepresentationChanged)


async def test_a_signed_query_arrives_byte_for_byte(server: FaultServer) -> None:
    query = "?sig=a%2Fb%3D%3d+c&empty=&flag&x=~!*'()&u=%e2%82%ac;v=|"
    server.on("/old%2Fname", redirect("/new%2fname" + query))
    server.serve("/new%2fname", DATA)
    async with HttpClient(QUICK) as client:
        await fetch(client, server.url("/old%2Fname" + query))
    assert [request.target for request in server.requests] == ["/old%2Fname" + query, "/new%2fname" + query]


async def test_blanks_and_letters_beyond_ascii_are_percent_encoded(server: FaultServer) -> None:
    server.serve("/Gru%C3%9F%20und%20Ku%C3%9F", DATA)
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url("/Gruß und Kuß#teil")) == DATA


async def test_the_body_of_a_redirect_is_not_waited_for(server: FaultServer) -> None:
    server.on("/", head(302, length=1000, location="/there"), stall())
    server.serve("/there", DATA)
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url()) == DATA

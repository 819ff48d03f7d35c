"""The client as a whole: its connections, priorities, closing, cancelling, loops, TLS, proxies, secrets."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.faultserver import FaultServer, finish, head, raw, redirect, reset, send, stall
from support.fetching import QUICK, fetch, fetch_until_error
from support.oracles import everything_said

import kithara
from kithara.errors import Closed, ConnectFailed, KitharaError, NetTimeout, PolicyDenied
from kithara.net import HttpClient, HttpOptions, Representation

DATA = bytes(range(256)) * 64


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "pair.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def secure(certificate: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with FaultServer(tls=context) as running:
        yield running


# ── connections ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_thousand_aborted_transfers_keep_to_the_limit_and_leave_nothing(no_leaks: None) -> None:  # H66
    with FaultServer() as server:
        server.on("/", head(206, range=(5, 1_000_005, 2_000_000)), send(bytes(1000)), stall())
        async with HttpClient(HttpOptions(connections=4)) as client:

            async def seek() -> None:
                async with client.stream(server.url(), 5, 1_000_005) as body:
                    await anext(body)

            for _ in range(50):
                await asyncio.gather(*(seek() for _ in range(20)))
            assert await server.sees(lambda: server.open_now() == 0)
        assert len(server.requests) == 1000
        assert server.most_open <= 4


async def test_who_is_urgent_goes_first(server: FaultServer) -> None:
    server.on("/busy", head(206, range=(0, 5, 10)), stall())
    server.serve("/", DATA)
    done: list[str] = []
    async with HttpClient(HttpOptions(connections=1)) as client:

        async def one(name: str, priority: int) -> None:
            await fetch(client, server.url(f"/?{name}"), 0, 5, priority=priority)
            done.append(name)

        async with asyncio.TaskGroup() as group:
            async with client.stream(server.url("/busy"), 0, 5):
                for name, priority in [("hole", 2), ("ahead", 1), ("reader", 0), ("late reader", 0)]:
                    group.create_task(one(name, priority))
                    await asyncio.sleep(0)
    assert done == ["reader", "late reader", "ahead", "hole"]


async def test_what_was_prefetched_may_become_urgent_while_it_waits(server: FaultServer) -> None:
    server.on("/busy", head(206, range=(0, 5, 10)), stall())
    server.serve("/", DATA)
    urgency = {"a": 1, "b": 1, "c": 1}
    done: list[str] = []
    async with HttpClient(HttpOptions(connections=1)) as client:

        async def one(name: str) -> None:
            await fetch(client, server.url(f"/?{name}"), 0, 5, priority=lambda: urgency[name])
            done.append(name)

        async with asyncio.TaskGroup() as group:
            async with client.stream(server.url("/busy"), 0, 5):
                for name in urgency:
                    group.create_task(one(name))
                    await asyncio.sleep(0)
                urgency["c"] = 0
    assert done == ["c", "a", "b"]


async def test_a_cancelled_wait_for_a_place_loses_none(server: FaultServer) -> None:
    server.serve("/", DATA)
    async with HttpClient(HttpOptions(connections=1)) as client:
        async with client.stream(server.url(), 0, 5):
            waiting = [asyncio.create_task(fetch(client, server.url(), 0, 5)) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.wait(waiting[:1])
        waiting[1].cancel()  # perhaps in the very moment in which its turn comes
        await asyncio.wait(waiting)
        assert waiting[2].result() == DATA[:5]
        assert await fetch(client, server.url(), 0, 5) == DATA[:5]


async def test_a_body_without_ranges_takes_no_place_from_others(server: FaultServer) -> None:
    server.on("/radio", head(headers={"icy-name": "x"}), send(b"tune"), stall())
    server.serve("/", DATA)
    async with HttpClient(HttpOptions(connections=1)) as client:
        async with client.stream(server.url("/radio")) as radio, client.stream(server.url("/radio")) as second:
            assert [await anext(radio), await anext(second)] == [b"tune", b"tune"]
            assert await fetch(client, server.url(), 0, 5) == DATA[:5]


async def test_a_server_that_ignores_ranges_takes_no_place_from_others(server: FaultServer) -> None:
    server.on("/whole", head(length=1000), send(b"0123"), stall())
    server.serve("/", DATA)
    async with HttpClient(HttpOptions(connections=1)) as client, client.stream(server.url("/whole"), 0, 10) as body:
        assert await anext(body) == b"0123"
        assert await fetch(client, server.url(), 0, 5) == DATA[:5]


async def test_waiting_for_a_place_counts_for_the_total_limit(server: FaultServer) -> None:
    server.on("/", head(206, range=(0, 5, 10)), stall())
    async with HttpClient(HttpOptions(connections=1, total=0.3, idle=20)) as client:
        async with client.stream(server.url(), 0, 5):
            _, error = await fetch_until_error(client, server.url(), 0, 5)
            with pytest.raises(NetTimeout) as caught:
                await client.revalidate(server.url(), Representation(total=10, etag='"a"'))
    assert isinstance(error, NetTimeout)
    assert ("total", "total") == (error.kind, caught.value.kind)
    assert len(server.requests) == 1


async def test_two_hundred_at_once_share_few_connections(no_leaks: None) -> None:
    with FaultServer() as server:
        server.serve("/", DATA)
        async with HttpClient(HttpOptions(connections=6)) as client:
            got = await asyncio.gather(*(fetch(client, server.url(), n, n + 100) for n in range(200)))
        assert got == [DATA[n : n + 100] for n in range(200)]
        assert (server.most_open, server.accepted) == (6, 6)


# ── ending ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_closing_ends_every_wait_and_leaves_nothing(no_leaks: None, liveness) -> None:
    with FaultServer() as server:
        server.on("/headers", stall())
        server.on("/body", head(206, range=(0, 5, 10)), send(b"01"), stall())
        patient = HttpOptions(headers=60, idle=60, connections=2)
        client = HttpClient(patient)

        async def read() -> None:
            async with client.stream(server.url("/body"), 0, 5) as body:
                async for _ in body:
                    reading.set()

        reading = asyncio.Event()
        tasks = [asyncio.create_task(read())]
        await reading.wait()
        tasks += [asyncio.create_task(fetch(client, server.url("/headers"))) for _ in range(2)]
        assert await server.sees(lambda: len(server.requests) == 2)
        began = asyncio.get_running_loop().time()
        await client.close()
        await client.close()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert asyncio.get_running_loop().time() - began < liveness(1)
        assert [type(end) for end in ends] == [Closed] * 3
        assert await server.sees(lambda: server.open_now() == 0)
    with pytest.raises(Closed):
        await fetch(client, server.url())


@pytest.fixture
def unreachable() -> Iterator[str]:
    """The URL of an address that answers no attempt to connect: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


async def test_a_connection_that_never_stands_is_left_at_the_connect_limit(unreachable: str, liveness) -> None:
    async with HttpClient(HttpOptions(connect=0.3)) as client:
        began = asyncio.get_running_loop().time()
        _, error = await fetch_until_error(client, unreachable)
        assert asyncio.get_running_loop().time() - began < liveness(1.3)
    assert isinstance(error, NetTimeout)
    assert (error.kind, error.retryable) == ("connect", True)


async def test_closing_ends_an_attempt_to_connect(unreachable: str, liveness) -> None:
    client = HttpClient(HttpOptions(connect=60))
    task = asyncio.create_task(fetch(client, unreachable))
    await asyncio.wait([task], timeout=0.1)
    began = asyncio.get_running_loop().time()
    await client.close()
    with pytest.raises(Closed):
        await task
    assert asyncio.get_running_loop().time() - began < liveness(0.5)


@pytest.mark.parametrize("path", ["/headers", "/body", "/name"])
async def test_cancelling_is_prompt_and_leaves_nothing(no_leaks: None, liveness, path: str) -> None:
    with FaultServer() as server:
        server.on("/headers", stall())
        server.on("/body", head(length=5), send(b"01"), stall())
        server.on("/name", redirect("/headers"))
        async with HttpClient(HttpOptions(headers=60, idle=60)) as client:
            task = asyncio.create_task(fetch(client, server.url(path)))
            assert await server.sees(lambda: server.requests)
            began = asyncio.get_running_loop().time()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert asyncio.get_running_loop().time() - began < liveness(0.1)
            assert await server.sees(lambda: server.open_now() == 0)


async def test_a_body_says_closed_after_its_context(server: FaultServer) -> None:
    server.on("/", head(length=5), send(b"01"), stall())
    async with HttpClient(QUICK) as client:
        async with client.stream(server.url()) as body:
            await anext(body)
        with pytest.raises(Closed):
            await anext(body)


async def test_an_error_of_the_reader_closes_the_connection_and_passes(server: FaultServer) -> None:
    server.on("/", head(length=5), send(b"01"), stall())
    async with HttpClient(QUICK) as client:
        with pytest.raises(ZeroDivisionError):
            async with client.stream(server.url()):
                raise ZeroDivisionError
        assert await server.sees(lambda: server.open_now() == 0)


def test_one_client_serves_several_loops_and_closes_on_each(no_leaks: None) -> None:
    with FaultServer() as server:
        server.serve("/", DATA)
        client = HttpClient(QUICK)
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever)
        thread.start()
        try:
            elsewhere = asyncio.run_coroutine_threadsafe(fetch(client, server.url(), 5, 9), loop)
            assert elsewhere.result(10) == DATA[5:9]

            async def here() -> bytes:
                async with client:
                    return await fetch(client, server.url(), 9, 12)

            assert asyncio.run(here()) == DATA[9:12]
            late = asyncio.run_coroutine_threadsafe(fetch(client, server.url()), loop)
            with pytest.raises(Closed):
                late.result(10)
            assert server.wait_until(lambda: server.open_now() == 0)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


# ── TLS and proxies ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_untrusted_certificate_says_what_to_do(secure: FaultServer) -> None:
    secure.serve("/", DATA)
    async with HttpClient(QUICK) as client:
        _, error = await fetch_until_error(client, secure.url())
    assert isinstance(error, ConnectFailed)
    assert not error.retryable
    assert "certificate" in str(error)
    assert "tls=" in str(error)
    assert secure.requests == []


@pytest.mark.parametrize("trusting", ["context", "anybody"])
async def test_a_certificate_is_trusted_as_the_caller_says(secure: FaultServer, certificate: Path, trusting) -> None:
    secure.serve("/", DATA)
    tls = ssl.create_default_context(cafile=str(certificate)) if trusting == "context" else False
    async with HttpClient(HttpOptions(tls=tls)) as client, client.stream(secure.url(), 0, 5) as body:
        assert body.trust.secure
        assert b"".join([piece async for piece in body]) == DATA[:5]


async def test_tls_is_not_given_up_on_the_way(secure: FaultServer, server: FaultServer) -> None:  # H54
    secure.on("/", redirect(server.url()))
    server.serve("/", DATA)
    async with HttpClient(HttpOptions(tls=False)) as client:
        _, error = await fetch_until_error(client, secure.url())
        assert "allow_downgrade" in str(error)
        assert server.accepted == 0
    async with HttpClient(HttpOptions(tls=False, allow_downgrade=True)) as client:
        assert await fetch(client, secure.url()) == DATA


async def test_aborting_a_secure_transfer_closes_it_at_once(secure: FaultServer, liveness) -> None:
    secure.on("/", head(length=10_000), send(b"01"), stall())
    async with HttpClient(HttpOptions(tls=False)) as client:
        async with client.stream(secure.url()) as body:
            await anext(body)
        assert await secure.sees(lambda: secure.open_now() == 0, liveness(1))


async def test_plain_http_where_tls_was_asked_for_says_so_and_is_not_tried_again() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    plain = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = plain.sockets[0].getsockname()[1]
    async with plain, HttpClient() as client:
        _, error = await fetch_until_error(client, f"https://127.0.0.1:{port}/")
    assert isinstance(error, ConnectFailed)
    assert ("does it speak https there?" in str(error), error.retryable) == (True, False)


async def test_a_server_that_speaks_no_tls_is_a_failed_connection(server: FaultServer) -> None:
    server.on("/", raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), finish())
    async with HttpClient(HttpOptions(connect=0.3)) as client:
        _, error = await fetch_until_error(client, server.url().replace("http:", "https:"))
    assert isinstance(error, ConnectFailed | NetTimeout)


async def test_a_handshake_that_never_ends_is_left_at_the_connect_limit(liveness) -> None:
    with FaultServer() as silent:  # waits for a request line that TLS never sends
        async with HttpClient(HttpOptions(connect=0.3)) as client:
            began = asyncio.get_running_loop().time()
            _, error = await fetch_until_error(client, silent.url().replace("http:", "https:"))
            assert asyncio.get_running_loop().time() - began < liveness(1.3)
    assert isinstance(error, NetTimeout)
    assert error.kind == "connect"


async def test_a_proxy_is_used_only_when_asked_for(server, elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", elsewhere.url())
    monkeypatch.setenv("HTTP_PROXY", elsewhere.url())
    server.serve("/", DATA)
    async with HttpClient(QUICK) as client:
        assert await fetch(client, server.url(), 0, 5) == DATA[:5]
    assert elsewhere.accepted == 0


async def test_a_proxy_gets_the_whole_url_and_its_own_credentials(elsewhere: FaultServer) -> None:
    url = "http://media.example/song?sig=a%2fb"
    elsewhere.on("http://media.example/song", head(206, range=(0, 4, 10)), send(b"0123"))
    proxy = elsewhere.url(userinfo="me:pass")
    async with HttpClient(HttpOptions(proxy=proxy)) as client:
        assert await fetch(client, url, 0, 4) == b"0123"
    [request] = elsewhere.requests
    assert (request.target, request.header("proxy-authorization")) == (url, "Basic bWU6cGFzcw==")
    assert request.header("authorization") is None


async def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = taken.getsockname()[1]
    options = HttpOptions(proxy=f"http://me:pass@127.0.0.1:{gone}", retries=0)
    async with HttpClient(options) as client:
        _, error = await fetch_until_error(client, "http://media.example/")
    assert isinstance(error, ConnectFailed)
    assert f"cannot connect to the proxy 127.0.0.1:{gone}: " in str(error)


async def test_a_proxy_is_no_way_around_private_addresses_in_a_url(elsewhere: FaultServer) -> None:
    elsewhere.on("http://media.example/", redirect("http://10.0.0.1/admin"))
    async with HttpClient(HttpOptions(proxy=elsewhere.url())) as client:
        _, error = await fetch_until_error(client, "http://media.example/")
    assert isinstance(error, PolicyDenied)
    assert len(elsewhere.requests) == 1


# ── manners and secrets ────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_client_says_who_it_is(server: FaultServer) -> None:
    server.serve("/", DATA)
    async with HttpClient(QUICK) as client:
        await fetch(client, server.url(), 0, 5)
    assert (server.requests[0].header("user-agent") or "").startswith("kithara/")


async def test_the_netrc_file_is_not_read(server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    server.serve("/", DATA)
    async with HttpClient(QUICK) as client:
        await fetch(client, server.url(), 0, 5)
    assert server.requests[0].header("authorization") is None


async def test_a_header_that_could_forge_another_reaches_no_server(server: FaultServer) -> None:
    async with HttpClient(QUICK) as client:
        with pytest.raises(PolicyDenied):
            await fetch(client, server.url(), headers={"X": "a\r\nX-Evil: 1"})
        with pytest.raises(PolicyDenied):
            await fetch(client, server.url("/\r\nX-Evil: 1"))
    assert server.accepted == 0


HOW_TO_FAIL = {
    "closed": [finish()],
    "silent": [stall()],
    "no HTTP": [raw(b"nonsense\r\n\r\n")],
    "long header": [raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX" + b"y" * 9000 + b": z\r\n\r\n")],
    "404": [head(404, length=0)],
    "503": [head(503, length=0)],
    "no location": [head(302, length=0)],
    "loop": [redirect("/?token=S3CRET")],
    "another scheme": [redirect("ftp://me:S3CRET@host/?token=S3CRET")],
    "refused elsewhere": [redirect("http://me:S3CRET@127.0.0.1:1/?token=S3CRET")],
    "reset": [head(length=5), send(b"01"), reset()],
    "stalled": [head(length=5), send(b"01"), stall()],
    "bad chunk": [head(chunked=True), send(b"zz\r\n")],
    "unasked part": [head(206, range=(0, 5, 9)), send(b"01234")],
    "coding": [head(headers={"Content-Encoding": "br"}, length=5)],
    "too large": [head(length=1 << 50)],
}


@pytest.mark.parametrize("steps", HOW_TO_FAIL.values(), ids=HOW_TO_FAIL)
async def test_no_error_nor_log_line_holds_a_secret(server, caplog: pytest.LogCaptureFixture, steps) -> None:
    caplog.set_level(logging.DEBUG)
    server.on("/", *steps)
    url = server.url("/?token=S3CRET", userinfo="me:S3CRET")
    options = HttpOptions(headers=0.2, idle=0.2, retries=1)
    said = []
    async with HttpClient(options, headers={"X-Key": "S3CRET"}) as client:
        for call in (fetch(client, url, headers={"Cookie": "S3CRET"}), client.get(url, auth=("me", "S3CRET"))):
            with pytest.raises(KitharaError) as caught:
                await call
            said.append(everything_said(caught.value))
        said.append(repr(client))
    text = "\n".join([*said, caplog.text, *(repr(record.args) for record in caplog.records)])
    assert "S3CRET" not in text
    assert "token" not in text


async def test_retries_are_logged_with_redacted_urls(server: FaultServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kithara")
    server.on("/", finish())
    server.on("/", head(length=4), send(b"good"))
    async with HttpClient(QUICK) as client:
        await client.get(server.url("/?token=S3CRET"))
    assert server.url("/?…") in caplog.text


def test_the_packages_logger_is_silent_by_itself() -> None:
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("kithara").handlers)


BLOCKING = ("open", "socket.getaddrinfo", "socket.gethostbyname", "time.sleep", "subprocess.Popen", "os.listdir")


def test_nothing_on_the_loop_waits_for_files_names_or_clocks(root: Path) -> None:
    """Audited in a process of its own, because an audit hook cannot be taken away again."""
    script = f"""
import asyncio, sys, threading
sys.path[:0] = [{str(root / "tests")!r}, {str(Path(kithara.__file__).parents[1])!r}]
from support.faultserver import FaultServer, finish, head, redirect, send
from support.fetching import fetch
from kithara.net import HttpClient, HttpOptions

watching, seen = None, []

def hook(event, arguments):
    if event in {BLOCKING!r} and threading.get_ident() == watching:
        seen.append((event, arguments[:1]))

async def main(server):
    global watching
    async with HttpClient(HttpOptions(retries=1)) as client:
        await fetch(client, server.url("/", host="localhost"), 0, 5)
        watching = threading.get_ident()
        await fetch(client, server.url("/", host="localhost"), 0, 5)
        await fetch(client, server.url("/old"), 0, 5)
        await client.get(server.url("/flaky"))
        await client.probe(server.url("/"))
    async with HttpClient() as client:
        await fetch(client, server.url("/", host="localhost"), 0, 5)
    watching = None

sys.addaudithook(hook)
with FaultServer() as server:
    server.serve("/", bytes(1000))
    server.on("/old", redirect("/"))
    server.on("/flaky", finish())
    server.on("/flaky", head(length=4), send(b"good"))
    asyncio.run(main(server))
print(seen)
"""
    calm = {**os.environ, "PYTHONASYNCIODEBUG": "", "PYTHONDEVMODE": ""}  # asyncio's own debugging reads source files
    done = subprocess.run([sys.executable, "-c", script], env=calm, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")

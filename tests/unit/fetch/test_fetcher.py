"""The fetcher against servers of this process on loopback."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import subprocess
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colony.config.model import FetchConfig
from colony.errors import CertificateInvalid, DeadlineExceeded, NotPermitted, Unavailable
from colony.fetch import open_fetcher
from colony.fetch.body import BodyReader

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def web_server(answer: Answer, *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[tuple[int, list[bytes]]]:
    """A server that hands each request head to `answer`; yields its port and the heads it got."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(heads[-1], writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort() if tls else writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1], heads
    finally:
        server.close()


def page(body: bytes, *, status: str = "200 OK", **headers: str) -> Answer:
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body)

    return answer


def allowing(*ports: int, **options) -> FetchConfig:
    return FetchConfig(allow_private=tuple(f"127.0.0.1:{port}" for port in ports), **options)


async def test_a_listed_server_is_fetched():
    async with (
        web_server(page(b"hello", Content_Type="text/plain; charset=utf-8")) as (port, heads),
        open_fetcher(allowing(port)) as fetcher,
    ):
        got = await fetcher.get(f"http://127.0.0.1:{port}/a?b=c#d")
    assert (got.status, got.content, got.content_type) == (200, b"hello", "text/plain; charset=utf-8")
    assert got.url == f"http://127.0.0.1:{port}/a?b=c"
    assert got.seconds > 0
    assert got.certificate_expires is None
    assert heads[0].startswith(b"GET /a?b=c HTTP/1.1\r\n")
    assert heads[0].lower().count(b"host:") == 1
    assert f"host: 127.0.0.1:{port}\r\n".encode() in heads[0].lower()


async def test_errors_of_a_page_are_answers():
    async with web_server(page(b"gone", status="404 Not Found")) as (port, _), open_fetcher(allowing(port)) as fetcher:
        got = await fetcher.get(f"http://127.0.0.1:{port}/")
    assert (got.status, got.content) == (404, b"gone")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.1", "localhost", "0", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]"]
)
async def test_loopback_is_refused_however_it_is_written(host):
    async with web_server(page(b"secret")) as (port, heads), open_fetcher(FetchConfig()) as fetcher:
        with pytest.raises(NotPermitted):
            await fetcher.get(f"http://{host}:{port}/")
    assert heads == []


async def test_a_listed_port_opens_no_other():
    async with web_server(page(b"secret")) as (port, heads), open_fetcher(allowing(1)) as fetcher:
        with pytest.raises(NotPermitted):
            await fetcher.get(f"http://127.0.0.1:{port}/")
    assert heads == []


async def test_a_name_is_refused_when_one_of_its_addresses_is_private(monkeypatch: pytest.MonkeyPatch):
    asked = []

    async def resolve(host, port, **options):
        asked.append(host)
        return [(2, 1, 6, "", (address, port)) for address in ("93.184.216.34", "10.0.0.1")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    async with open_fetcher(FetchConfig()) as fetcher:
        with pytest.raises(NotPermitted, match=r"10\.0\.0\.1"):
            await fetcher.get("http://two-faced.example/")
    assert asked == ["two-faced.example"]


async def test_the_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch):
    """A name that changes its mind after the check gains nothing: it is asked once."""
    answers = ["127.0.0.1", "10.0.0.1"]

    async def resolve(host, port, **options):
        return [(2, 1, 6, "", (answers.pop(0), port))]

    async with (
        web_server(page(b"mine")) as (port, heads),
        open_fetcher(FetchConfig(allow_private=(f"rebind.example:{port}",))) as fetcher,
    ):
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        got = await fetcher.get(f"http://rebind.example:{port}/")
        monkeypatch.undo()
    assert got.content == b"mine"
    assert answers == ["10.0.0.1"]
    assert f"host: rebind.example:{port}".encode() in heads[0].lower()


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:{other}/", "http://user:pw@127.0.0.1:{port}/", "file:///etc/passwd", "//127.1:{other}/"],
)
async def test_redirects_pass_the_same_gate(target):
    async with web_server(page(b"secret")) as (other, heads):

        async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
            where = target.format(other=other, port=port)
            writer.write(f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())

        async with web_server(answer) as (port, _), open_fetcher(allowing(port)) as fetcher:
            with pytest.raises(NotPermitted):
                await fetcher.get(f"http://127.0.0.1:{port}/")
    assert heads == []


async def test_redirects_are_followed_and_end():
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        step = int(head.split(b" ")[1].rpartition(b"/")[2])
        if step == 0:
            await page(b"there")(head, writer)
        else:
            writer.write(f"HTTP/1.1 301 Moved\r\nLocation: /{step - 1}\r\nContent-Length: 0\r\n\r\n".encode())

    async with web_server(answer) as (port, heads), open_fetcher(allowing(port)) as fetcher:
        got = await fetcher.get(f"http://127.0.0.1:{port}/5")
        assert (got.content, got.url) == (b"there", f"http://127.0.0.1:{port}/0")
        heads.clear()
        with pytest.raises(NotPermitted):
            await fetcher.get(f"http://127.0.0.1:{port}/1000")
        assert len(heads) == 6


async def test_a_body_without_end_is_cut():
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
            await writer.drain()

    async with web_server(answer) as (port, _), open_fetcher(allowing(port, max_bytes=1_000_000)) as fetcher:
        with pytest.raises(NotPermitted, match="larger"):
            await fetcher.get(f"http://127.0.0.1:{port}/")


async def test_a_caller_can_only_lower_the_limits():
    async with web_server(page(b"a" * 2000)) as (port, _), open_fetcher(allowing(port, max_bytes=1000)) as fetcher:
        with pytest.raises(NotPermitted):
            await fetcher.get(f"http://127.0.0.1:{port}/", max_bytes=10_000_000)


async def test_a_slow_drip_ends_at_the_deadline():
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with web_server(answer) as (port, _), open_fetcher(allowing(port)) as fetcher:
        with pytest.raises(DeadlineExceeded):
            await fetcher.get(f"http://127.0.0.1:{port}/", timeout=0.4)


async def test_a_gzip_bomb_is_not_unpacked():
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < 100_000
    async with (
        web_server(page(bomb, Content_Encoding="gzip")) as (port, _),
        open_fetcher(allowing(port, max_bytes=1_000_000)) as fetcher,
    ):
        with pytest.raises(NotPermitted, match="larger"):
            await fetcher.get(f"http://127.0.0.1:{port}/")


async def test_a_compressed_page_is_unpacked():
    async with (
        web_server(page(gzip.compress(b"hello" * 1000), Content_Encoding="gzip")) as (port, _),
        open_fetcher(allowing(port)) as fetcher,
    ):
        assert (await fetcher.get(f"http://127.0.0.1:{port}/")).content == b"hello" * 1000


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"])
async def test_broken_answers(answer):
    async def write(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    async with web_server(write) as (port, _), open_fetcher(allowing(port)) as fetcher:
        with pytest.raises(Unavailable):
            await fetcher.get(f"http://127.0.0.1:{port}/")


async def test_nobody_listens():
    async with web_server(page(b"")) as (port, _):
        pass
    async with open_fetcher(allowing(port)) as fetcher:
        with pytest.raises(Unavailable):
            await fetcher.get(f"http://127.0.0.1:{port}/?token=s3cret")


async def test_a_post_is_sent_once_and_follows_nothing():
    bodies: list[bytes] = []

    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        bodies.append(head)
        writer.write(b"HTTP/1.1 307 X\r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\nno")

    async with web_server(answer) as (port, heads), open_fetcher(allowing(port)) as fetcher:
        got = await fetcher.post(f"http://127.0.0.1:{port}/hook", b"{}", {"X-Colony-Signature": "s"})
    assert (got.status, got.content) == (307, b"")
    assert len(heads) == 1
    assert heads[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"content-length: 2\r\n" in heads[0].lower()
    assert b"x-colony-signature: s\r\n" in heads[0].lower()


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}/", "file:///etc/passwd", "http://user:pw@127.0.0.1:{port}/"])
async def test_a_post_goes_nowhere_that_a_get_may_not(url: str):
    async with web_server(page(b"secret")) as (port, heads), open_fetcher(FetchConfig()) as fetcher:
        with pytest.raises(NotPermitted):
            await fetcher.post(url.format(port=port), b"{}", {})
    assert heads == []


async def test_a_post_that_hangs_ends_in_time():
    async def answer(head: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(60)

    async with web_server(answer) as (port, _), open_fetcher(allowing(port)) as fetcher:
        with pytest.raises(DeadlineExceeded):
            await fetcher.post(f"http://127.0.0.1:{port}/", b"{}", {}, timeout=0.1)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch):
    async with web_server(page(b"proxy")) as (proxy, asked), web_server(page(b"direct")) as (port, _):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        async with open_fetcher(allowing(port)) as fetcher:
            assert (await fetcher.get(f"http://127.0.0.1:{port}/")).content == b"direct"
    assert asked == []


async def test_https_tells_when_the_certificate_ends_and_checks_it(tmp_path: Path):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = await asyncio.to_thread(
        subprocess.run,
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=site.example",
         "-addext", "subjectAltName=DNS:site.example", "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def resolve(host, port, **options):
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    async with web_server(page(b"safe"), tls=server_side) as (port, _):
        asyncio.get_running_loop().getaddrinfo = resolve  # type: ignore[method-assign]
        config = FetchConfig(allow_private=(f"site.example:{port}", f"other.example:{port}"))
        async with open_fetcher(config, ssl_context=trusting) as fetcher:
            got = await fetcher.get(f"https://site.example:{port}/")
            assert got.content == b"safe"
            assert got.certificate_expires is not None
            with pytest.raises(CertificateInvalid, match="not valid"):
                await fetcher.get(f"https://other.example:{port}/")
        async with open_fetcher(config) as fetcher:
            with pytest.raises(CertificateInvalid, match="not valid"):
                await fetcher.get(f"https://site.example:{port}/")


@given(st.binary(max_size=5000), st.integers(1, 500), st.sampled_from(["gzip", "deflate", ""]))
def test_bodies_come_back_however_they_are_cut(body, size, encoding):
    packed = {"gzip": gzip.compress, "deflate": zlib.compress, "": bytes}[encoding](body)
    reader = BodyReader(encoding, most=5000)
    for start in range(0, len(packed), size):
        reader.feed(packed[start : start + size])
    assert reader.finish() == body


@given(st.integers(1, 300), st.integers(1, 300))
def test_the_limit_of_a_compressed_body_is_met_exactly(most, size):
    reader = BodyReader("gzip", most)
    packed = gzip.compress(b"a" * size)
    if size <= most:
        reader.feed(packed)
        assert reader.finish() == b"a" * size
    else:
        with pytest.raises(NotPermitted):
            reader.feed(packed)


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "x" * 1000])
def test_unknown_encodings(encoding):
    with pytest.raises(NotPermitted):
        BodyReader(encoding, 10)


def test_broken_compression():
    with pytest.raises(Unavailable):
        BodyReader("gzip", 100).feed(b"not gzip at all")
    cut = BodyReader("gzip", 1000)
    cut.feed(gzip.compress(b"hello" * 10)[:-9])
    with pytest.raises(Unavailable):
        cut.finish()

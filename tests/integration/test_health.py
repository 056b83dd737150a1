"""The health URL: hostile until proven otherwise, and asked at the address that was checked."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests.adapters
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keyturn.aws import health
from keyturn.aws.health import is_public
from keyturn.model.environment import Environment
from keyturn.model.rotation import Health

NOW = dt.datetime(2026, 11, 21, 5, 0, tzinfo=dt.UTC)
PUBLIC = "93.184.216.34"

Respond = Callable[[BaseHTTPRequestHandler], None]


def ask(url: str, *, allow_private: bool = False) -> Health:
    return health.ask(url, allow_private=allow_private, now=NOW)


class Names:
    """What names resolve to: each look-up takes the next answer, the last one stays."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []
        self.connected: list[tuple[str, int]] = []

    def resolve(self, host: str, *answers: str | list[str]) -> None:
        self.answers[host] = [[one] if isinstance(one, str) else one for one in answers]

    def getaddrinfo(self, host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        self.asked.append(host)
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            if host not in self.answers:
                raise socket.gaierror("unknown name") from None
            waiting = self.answers[host]
            found = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return [
            (
                socket.AF_INET6 if ":" in address else socket.AF_INET,
                socket.SOCK_STREAM,
                6,
                "",
                (address, port, 0, 0) if ":" in address else (address, port),
            )
            for address in found
        ]


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """No test resolves a name, or connects to anything but this machine."""
    names = Names()
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        names.connected.append(address[:2])
        if not ipaddress.ip_address(address[0]).is_loopback:
            raise ConnectionRefusedError("no test leaves this machine")
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", guarded)
    return names


@contextmanager
def serving(respond: Respond, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            respond(self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that hangs up is what some tests are about."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def status(code: int, **headers: str) -> Respond:
    def respond(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return respond


INSIDE = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "169.254.169.254",
    "169.254.170.2",
    "100.64.0.1",
    "100.127.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:93.184.216.34",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:4136:e378::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "100::1",
]


class TestAddresses:
    @pytest.mark.parametrize("address", INSIDE)
    def test_an_address_inside_is_not_asked(self, names: Names, address: str) -> None:
        names.resolve("health.example", address)
        answer = ask("https://health.example/")
        assert answer == Health(
            good=False,
            problem="the health URL leads to an address that is not public",
            checked_at=NOW,
        )
        assert names.connected == []

    @pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "1.1.1.1", "2606:4700::1111"])
    def test_a_public_address_is_asked(self, names: Names, address: str) -> None:
        assert is_public(ipaddress.ip_address(address))
        names.resolve("health.example", address)
        assert ask("https://health.example/").problem == "no answer (ConnectionError)"
        assert set(names.connected) == {(address, 443)}

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "2130706433"]
    )
    def test_a_literal_is_checked_like_a_name(self, names: Names, host: str) -> None:
        names.resolve("2130706433", "127.0.0.1")  # how getaddrinfo understands it
        assert not ask(f"https://{host}/").good
        assert names.connected == []

    def test_one_address_inside_among_public_ones_spoils_them_all(self, names: Names) -> None:
        names.resolve("health.example", [PUBLIC, "10.0.0.1"])
        assert not ask("https://health.example/").good
        assert names.connected == []

    def test_a_name_that_changes_its_mind_is_asked_at_the_checked_address(
        self, names: Names
    ) -> None:
        """DNS rebinding: public while it is checked, private when it is connected to."""
        names.resolve("health.example", PUBLIC, "127.0.0.1")
        ask("https://health.example/")
        assert names.asked.count("health.example") == 1
        assert set(names.connected) == {(PUBLIC, 443)}

    def test_a_scope_does_not_hide_a_link_local_address(self, names: Names) -> None:
        names.resolve("health.example", "fe80::1%eth0")
        assert not ask("https://health.example/").good
        assert names.connected == []

    def test_a_second_address_is_asked_when_the_first_cannot_be_reached(self, names: Names) -> None:
        names.resolve("health.example", ["2606:4700::1111", PUBLIC, "8.8.8.8"])
        ask("https://health.example/")
        asked = list(dict.fromkeys(names.connected))
        assert asked == [("2606:4700::1111", 443), (PUBLIC, 443)]

    @pytest.mark.parametrize("address", ["169.254.169.254", "::ffff:169.254.169.254", "fe80::1"])
    @pytest.mark.parametrize("more", [[], ["127.0.0.1"]])
    def test_no_setting_opens_a_metadata_service(
        self, names: Names, address: str, more: list[str]
    ) -> None:
        names.resolve("health.example", [address, *more])
        assert not ask("http://health.example/latest/meta-data", allow_private=True).good
        assert names.connected == []

    def test_the_metadata_service_has_an_ipv6_address_too(self, names: Names) -> None:
        assert not ask("http://[fd00:ec2::254]/", allow_private=True).good
        assert names.connected == []

    @pytest.mark.parametrize("address", ["10.0.0.1", "100.64.0.1", "127.0.0.1", "fd12::1"])
    def test_the_setting_opens_private_addresses(self, names: Names, address: str) -> None:
        names.resolve("health.example", address)
        ask("http://health.example:1/", allow_private=True)
        assert set(names.connected) == {(address, 1)}


@pytest.mark.parametrize(("text", "opened"), [("true", True), ("false", False), ("", False)])
def test_private_addresses_are_opened_by_the_stacks_parameter_alone(
    monkeypatch: pytest.MonkeyPatch, text: str, opened: bool
) -> None:
    monkeypatch.setenv("ALLOW_PRIVATE_HEALTH_URLS", text)
    assert Environment().flag("ALLOW_PRIVATE_HEALTH_URLS") is opened


class TestUrls:
    @pytest.mark.parametrize(
        "url",
        [
            "http://health.example/",
            "https://health.example:8443/",
            "https://health.example:80/",
            "https://user@health.example/",
            "https://user:password@health.example/",
            "https://@health.example/",
            "https://health.example@10.0.0.1/",
            "https://health.example\\@10.0.0.1/",
            "ftp://health.example/",
            "file:///etc/passwd",
            "gopher://health.example/",
            "health.example",
            "//health.example/",
            "https:///path",
            "https://",
            "",
            " ",
            "https://[::1",
            "https://health.example:port/",
            "https://health.example:99999/",
            "https://health.example:-1/",
            "https://b\u00fccher.example/",
            "https://health\u3002example/",
            "https://health.example/\u00fc",
            "https://health.example/\r\nHost: other",
            "https://health.example/\x00",
            "https://health.example/" + "x" * 300,
            "https://" + "x" * 64 + ".example/",
            "https://nowhere.example/",
            "https://exa mple.example/",
        ],
        ids=repr,
    )
    def test_an_unfit_url_is_a_bad_answer_and_never_an_error(self, names: Names, url: str) -> None:
        names.resolve("health.example", PUBLIC)
        answer = ask(url)
        assert not answer.good
        assert answer.problem is not None
        assert "health URL" in answer.problem
        assert names.connected == []

    @pytest.mark.parametrize("url", ["HTTPS://HEALTH.example", "https://health.example:443/?a=b"])
    def test_a_fit_url_is_asked(self, names: Names, url: str) -> None:
        names.resolve("health.example", PUBLIC)
        ask(url)
        assert set(names.connected) == {(PUBLIC, 443)}

    def test_what_is_wrong_does_not_quote_the_url(self) -> None:
        """A person may have put a token into it."""
        for url in ("https://user:hunter2@health.example/", "http://health.example/?key=hunter2"):
            assert "hunter2" not in str(ask(url))


class TestAnswers:
    @pytest.mark.parametrize(("code", "good"), [(200, True), (204, True), (299, True)])
    def test_2xx_is_good(self, code: int, good: bool) -> None:
        with serving(status(code)) as port:
            answer = ask(f"http://127.0.0.1:{port}/", allow_private=True)
        assert answer == Health(good=good, status=code, checked_at=NOW)

    @pytest.mark.parametrize("code", [300, 304, 400, 401, 404, 500, 503])
    def test_everything_else_is_bad(self, code: int) -> None:
        with serving(status(code)) as port:
            answer = ask(f"http://127.0.0.1:{port}/", allow_private=True)
        assert answer == Health(good=False, status=code, checked_at=NOW)

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    def test_a_redirect_is_bad_and_not_followed(self, code: int) -> None:
        asked: list[str] = []

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            asked.append(handler.path)
            status(code, Location="/elsewhere")(handler)

        with serving(redirect) as port:
            answer = ask(f"http://127.0.0.1:{port}/", allow_private=True)
        assert (answer.good, answer.status, asked) == (False, code, ["/"])

    def test_the_server_sees_the_name_the_path_and_the_query(self, names: Names) -> None:
        names.resolve("health.example", "127.0.0.1")
        seen: list[Any] = []

        def respond(handler: BaseHTTPRequestHandler) -> None:
            seen.extend((handler.headers["Host"], handler.path, handler.headers["User-Agent"]))
            status(200)(handler)

        with serving(respond) as port:
            assert ask(f"http://health.example:{port}/a%20b?c=d#e", allow_private=True).good
        assert seen == [f"health.example:{port}", "/a%20b?c=d", "keyturn-health"]

    def test_a_proxy_of_the_environment_is_ignored(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "http://10.9.9.9:3128")
        monkeypatch.delenv("no_proxy", raising=False)
        with serving(status(200)) as port:
            assert ask(f"http://127.0.0.1:{port}/", allow_private=True).good

    def test_credentials_of_the_environment_are_ignored(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
        monkeypatch.setenv("NETRC", str(netrc))
        seen: list[Any] = []

        def respond(handler: BaseHTTPRequestHandler) -> None:
            seen.append(handler.headers["Authorization"])
            status(200)(handler)

        with serving(respond) as port:
            ask(f"http://127.0.0.1:{port}/", allow_private=True)
        assert seen == [None]

    def test_a_server_that_says_nothing_times_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "_TIMEOUT_SECONDS", (0.3, 0.3))
        done = threading.Event()

        def say_nothing(_: BaseHTTPRequestHandler) -> None:
            done.wait(20)

        began = time.monotonic()
        with serving(say_nothing) as port:
            answer = ask(f"http://127.0.0.1:{port}/", allow_private=True)
            done.set()
        assert answer.problem == "no answer (ReadTimeout)"
        assert time.monotonic() - began < 5

    def test_the_timeouts_together_fit_into_the_function(self) -> None:
        assert health._MOST_ADDRESSES * sum(health._TIMEOUT_SECONDS) < 30 - 5

    def test_a_huge_body_is_not_read(self) -> None:
        sent = 0
        chunk = b"x" * 65_536

        def respond(handler: BaseHTTPRequestHandler) -> None:
            nonlocal sent
            handler.send_response(200)
            handler.send_header("Content-Length", str(10**12))
            handler.end_headers()
            while sent < 10**9:
                handler.wfile.write(chunk)
                sent += len(chunk)

        began = time.monotonic()
        with serving(respond) as port:
            assert ask(f"http://127.0.0.1:{port}/", allow_private=True).good
        assert time.monotonic() - began < 5
        assert sent < 2 * 10**7  # what the sockets' buffers took

    @pytest.mark.parametrize(
        "nonsense",
        [
            b"",
            b"\r\n\r\n",
            b"garbage\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" * 200,
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"A: x\r\n" * 500 + b"\r\n",
        ],
        ids=lambda text: repr(text[:20]),
    )
    def test_an_answer_that_is_no_http_is_bad(self, nonsense: bytes) -> None:
        def respond(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(nonsense)
            handler.close_connection = True

        with serving(respond) as port:
            answer = ask(f"http://127.0.0.1:{port}/", allow_private=True)
        assert not answer.good

    def test_a_closed_port_is_bad(self) -> None:
        with serving(status(200)) as port:
            pass
        answer = ask(f"http://127.0.0.1:{port}/", allow_private=True)
        assert answer.problem == "no answer (ConnectionError)"


class Authority:
    """A certificate authority of this test, and certificates that it signs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.path = directory / "ca.pem"
        certificate = self._certificate(self.name, self.key, x509.BasicConstraints(True, None))
        self.path.write_bytes(certificate)

    def _certificate(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        )
        signed = builder.sign(self.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def context(self, *names: x509.GeneralName) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
        pem = self._certificate(subject, key, x509.SubjectAlternativeName(names))
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        chain = self.directory / "server.pem"
        chain.write_bytes(pem + secret)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        return context


class TestTls:
    @pytest.fixture
    def authority(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Authority:
        """An authority that the code under test trusts."""
        authority = Authority(tmp_path)
        monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(authority.path))
        return authority

    def test_the_certificate_is_verified_against_the_name(
        self, names: Names, authority: Authority
    ) -> None:
        names.resolve("health.example", "127.0.0.1")
        context = authority.context(x509.DNSName("health.example"))
        shown: list[str | None] = []
        context.sni_callback = lambda _socket, name, _context: shown.append(name)
        with serving(status(200), context) as port:
            answer = ask(f"https://health.example:{port}/", allow_private=True)
        assert (answer.good, answer.problem) == (True, None)
        assert shown == ["health.example"]

    @pytest.mark.parametrize(
        "names_in_it",
        [
            [x509.DNSName("other.example")],
            # The address that is connected to proves nothing about the name.
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
        ],
    )
    def test_a_certificate_of_somebody_else_is_bad(
        self, names: Names, authority: Authority, names_in_it: list[x509.GeneralName]
    ) -> None:
        names.resolve("health.example", "127.0.0.1")
        with serving(status(200), authority.context(*names_in_it)) as port:
            answer = ask(f"https://health.example:{port}/", allow_private=True)
        assert answer.problem == "no answer (SSLError)"

    def test_an_authority_that_nobody_trusts_is_bad(self, names: Names, tmp_path: Path) -> None:
        names.resolve("health.example", "127.0.0.1")
        context = Authority(tmp_path).context(x509.DNSName("health.example"))
        with serving(status(200), context) as port:
            answer = ask(f"https://health.example:{port}/", allow_private=True)
        assert answer.problem == "no answer (SSLError)"

    def test_an_authority_of_the_environment_is_not_trusted(
        self, names: Names, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        names.resolve("health.example", "127.0.0.1")
        authority = Authority(tmp_path)
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            monkeypatch.setenv(name, str(authority.path))
        with serving(status(200), authority.context(x509.DNSName("health.example"))) as port:
            assert not ask(f"https://health.example:{port}/", allow_private=True).good

"""Asks a health URL without letting it reach anything else.

The URL comes from a tag that others may write, so it is treated as hostile (server-side request
forgery): https on 443 only, no redirects, no proxy from the environment, every address that the
name resolves to must be public, and the connection goes to the very address that was checked.
The answer's body is not read.
"""

from __future__ import annotations

import ipaddress
import socket
from datetime import datetime
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
from requests.adapters import HTTPAdapter

from keyturn.rotation import Health

_TIMEOUT_SECONDS = (3.0, 5.0)  # connect, read
_LONGEST_URL = 256

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class _Unfit(Exception):
    """The URL may not be called; the message says why."""


class _PinnedAdapter(HTTPAdapter):
    """Connects to an address while TLS and the server still see the name."""

    def __init__(self, host: str) -> None:
        self._host = host
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Verify the certificate against the name, not the address."""
        super().init_poolmanager(
            *args, server_hostname=self._host, assert_hostname=self._host, **kwargs
        )


def ask(url: str, *, allow_private: bool, now: datetime) -> Health:
    """Return whether the URL answers with a 2xx status; only the status is kept.

    Args:
        url: the health URL.
        allow_private: also allow http, any port, and private or loopback addresses.
        now: the time of the check.

    A URL that may not be called, a timeout and a refused connection are bad answers: unknown
    never counts as healthy.
    """
    try:
        parts = _checked(url, allow_private)
        address = _checked_address(parts, allow_private)
        status = _status(parts, address)
    except _Unfit as unfit:
        return Health(good=False, problem=str(unfit), checked_at=now)
    except requests.RequestException as error:
        return Health(good=False, problem=f"no answer ({type(error).__name__})", checked_at=now)
    return Health(good=200 <= status < 300, status=status, checked_at=now)


def _checked(url: str, allow_private: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _Unfit("the health URL is malformed") from None
    if len(url) > _LONGEST_URL or not parts.hostname or parts.username or parts.password:
        raise _Unfit("the health URL must be short, name a host, and hold no credentials")
    if parts.scheme == "https" and port in (None, 443):
        return parts
    if allow_private and parts.scheme in ("http", "https"):
        return parts
    raise _Unfit("the health URL must be https on port 443")


def _checked_address(parts: SplitResult, allow_private: bool) -> Address:
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _Unfit("the health URL's host name does not resolve") from None
    addresses = [ipaddress.ip_address(str(item[4][0]).split("%")[0]) for item in found]
    if not addresses:
        raise _Unfit("the health URL's host name does not resolve")
    if not allow_private and not all(is_public(address) for address in addresses):
        raise _Unfit("the health URL leads to an address that is not public")
    return addresses[0]


def is_public(address: Address) -> bool:
    """Tell whether an address is on the public Internet.

    Not private, loopback, link-local (metadata services), shared (RFC 6598), multicast or
    reserved, and no IPv6 form that stands for an IPv4 address which is.
    """
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if embedded is not None:
            return is_public(embedded)
        if address.teredo is not None or address in ipaddress.ip_network("64:ff9b::/96"):
            return False
    return address.is_global and not address.is_multicast


def _status(parts: SplitResult, address: Address) -> int:
    host = parts.hostname or ""
    literal = f"[{address}]" if address.version == 6 else str(address)
    port = f":{parts.port}" if parts.port else ""
    target = f"{parts.scheme}://{literal}{port}{parts.path or '/'}"
    if parts.query:
        target += f"?{parts.query}"
    with requests.Session() as session:
        session.trust_env = False
        if parts.scheme == "https":
            session.mount("https://", _PinnedAdapter(host))
        with session.get(
            target,
            headers={"Host": f"{host}{port}", "User-Agent": "keyturn-health"},
            timeout=_TIMEOUT_SECONDS,
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code

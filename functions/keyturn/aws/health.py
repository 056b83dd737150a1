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
from urllib3.exceptions import HTTPError

from keyturn.model.rotation import Health

_TIMEOUT_SECONDS = (3.0, 5.0)  # connect, read
_LONGEST_URL = 256
_MOST_ADDRESSES = 2  # so that all time-outs together stay below the function's own

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_SHARED = ipaddress.ip_network("100.64.0.0/10")  # RFC 6598: inside of providers and of VPCs
_IPV6_METADATA = ipaddress.ip_network("fd00:ec2::/32")

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
        addresses = _checked_addresses(parts, allow_private)
        status = _first_status(parts, addresses)
    except _Unfit as unfit:
        return Health(good=False, problem=str(unfit), checked_at=now)
    # ValueError and HTTPError: what `requests` lets through when an answer is no HTTP at all.
    except (requests.RequestException, HTTPError, ValueError) as error:
        return Health(good=False, problem=f"no answer ({type(error).__name__})", checked_at=now)
    return Health(good=200 <= status < 300, status=status, checked_at=now)


def _checked(url: str, allow_private: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _Unfit("the health URL is malformed") from None
    if len(url) > _LONGEST_URL or not parts.hostname or "@" in parts.netloc:
        raise _Unfit("the health URL must be short, name a host, and hold no credentials")
    if not (url.isascii() and url.isprintable()):
        raise _Unfit("the health URL must be plain ASCII (an international name in its xn-- form)")
    if parts.scheme == "https" and port in (None, 443):
        return parts
    if allow_private and parts.scheme in ("http", "https"):
        return parts
    raise _Unfit("the health URL must be https on port 443")


def _checked_addresses(parts: SplitResult, allow_private: bool) -> list[Address]:
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _Unfit("the health URL's host name does not resolve") from None
    addresses = [ipaddress.ip_address(str(item[4][0]).split("%")[0]) for item in found]
    if not addresses:
        raise _Unfit("the health URL's host name does not resolve")
    if not all(is_public(at) or (allow_private and _is_inside(at)) for at in addresses):
        raise _Unfit("the health URL leads to an address that is not public")
    return list(dict.fromkeys(addresses))


def is_public(address: Address) -> bool:
    """Tell whether an address is on the public Internet.

    Not private, loopback, link-local (metadata services), shared (RFC 6598), multicast or
    reserved, and no IPv6 form that stands for an IPv4 address (mapped, compatible, translated,
    6to4, Teredo). Of IPv6 only 2000::/3 is public; `is_global` alone lets more through.
    """
    if isinstance(address, ipaddress.IPv6Address):
        tunnel = address.sixtofour is not None or address.teredo is not None
        if tunnel or address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast


def _is_inside(address: Address) -> bool:
    """Tell whether `AllowPrivateHealthUrls` opens an address; it never opens a metadata service."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_inside(address.ipv4_mapped)
        if address in _IPV6_METADATA:
            return False
    private = address.is_private or address in _SHARED
    return private and not (address.is_link_local or address.is_unspecified)


def _first_status(parts: SplitResult, addresses: list[Address]) -> int:
    """Ask the addresses in turn, as a browser does, until one can be reached."""
    *others, last = addresses[:_MOST_ADDRESSES]
    for address in others:
        try:
            return _status(parts, address)
        except requests.ConnectionError:
            continue
    return _status(parts, last)


def _status(parts: SplitResult, address: Address) -> int:
    host = parts.hostname or ""
    named = f"[{host}]" if ":" in host else host
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
            headers={"Host": f"{named}{port}", "User-Agent": "keyturn-health"},
            timeout=_TIMEOUT_SECONDS,
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code

"""Sends requests to Consul's agents: those of the watches, and any other that needs an agent, its token and TLS.

One connection, to the agent that was asked last. Whatever goes wrong, cancellation included, closes it, so that
nothing of a broken exchange is left for the next. What is used of httpx is its transport alone: a client would follow
redirects, keep cookies, take proxies from the environment, and log each request.
"""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import httpcore  # noqa: F401 - httpx imports it with the first connection, when a fork may happen (see `engine`)
import httpx

from lbkit import __version__
from lbkit.core.endpoint import Endpoint
from lbkit.discovery.consul.access import Access, usable_token
from lbkit.discovery.consul.reply import AgentReply, AgentRequest
from lbkit.errors import DiscoveryError
from lbkit.runtime.small_file import read_file
from lbkit.runtime.worker import Worker

CONNECT_S = 2.0
CLOSE_S = 0.5
MAX_BYTES = 64 * 1024 * 1024
"""Longest answer; an instance takes between 1 and 2 KiB of it."""
MAX_TOKEN_BYTES = 64 * 1024
"""Longest token file; Consul's own tokens have 36 characters, those of others a few thousand."""
_HEADERS = {"User-Agent": f"lbkit/{__version__}", "Accept": "application/json"}
_TOKEN = "X-Consul-Token"  # noqa: S105 - the header's name


class AgentClient:
    """Asks agents, one request at a time."""

    def __init__(self) -> None:
        self._transport: httpx.AsyncHTTPTransport | None = None
        self._reaches: tuple[Access, str] | None = None
        self._token_file = TokenFile()
        self._worker = Worker()

    async def ask(self, query: AgentRequest) -> AgentReply:
        """Send a request and return the reply, be it good or bad.

        Raises:
            DiscoveryError: There was none. The text names the agent and what happened.
        """
        done = False
        try:
            with anyio.fail_after(query.timeout):
                reply = await self._exchange(query)
            done = True
        except TimeoutError:
            raise DiscoveryError(f"{query.url}: no answer in {query.timeout:g} s") from None
        except httpx.ConnectTimeout:
            raise DiscoveryError(f"{query.url}: no connection in {CONNECT_S:g} s") from None
        except httpx.ConnectError as error:
            raise DiscoveryError(f"{query.url}: no connection: {_reason(error)}") from None
        except httpx.TransportError as error:
            raise DiscoveryError(f"{query.url}: the connection broke: {_reason(error)}") from None
        except OSError as error:
            raise DiscoveryError(f"{query.url}: {_reason(error)}") from None
        else:
            return reply
        finally:
            if not done:
                await self.aclose()

    async def aclose(self) -> None:
        """Close the connection; the next request opens another."""
        transport, self._transport = self._transport, None
        if transport is not None:
            with anyio.move_on_after(CLOSE_S, shield=True), suppress(Exception):
                await transport.aclose()

    async def _exchange(self, query: AgentRequest) -> AgentReply:
        transport = await self._reach(query)
        token = await self._token(query.access)
        headers = {**_HEADERS, **dict(query.headers)}
        if token:
            headers[_TOKEN] = token
        address = Endpoint.parse(query.url)
        extensions: dict[str, Any] = {"timeout": {"connect": CONNECT_S}}
        if query.access.tls_server_name is not None:
            extensions["sni_hostname"] = query.access.tls_server_name
        url = httpx.URL("http://localhost" if address.path else query.url).join(query.path)
        request = httpx.Request(
            query.method, url, params=list(query.params) or None, headers=headers, content=query.body or None,
            extensions=extensions,
        )  # fmt: skip
        response = await transport.handle_async_request(request)
        try:
            body = bytearray()
            async for part in response.aiter_raw():
                body += part
                if len(body) > MAX_BYTES:
                    raise DiscoveryError(f"{query.url}: the answer is longer than {MAX_BYTES // 2**20} MiB")
        finally:
            await response.aclose()
        content = bytes(body)
        if token and response.status_code != 200:
            content = content.replace(token.encode(), b"***")
        return AgentReply(response.status_code, dict(response.headers), content)

    async def _reach(self, query: AgentRequest) -> httpx.AsyncHTTPTransport:
        reaches = (query.access, query.url)
        if self._reaches != reaches:
            await self.aclose()
            self._reaches = reaches
        if self._transport is None:
            address = Endpoint.parse(query.url)
            # Reads the system's authorities, which takes a while.
            verify = await self._worker.run(lambda: _context(query.access)) if address.scheme == "https" else False
            limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=None)
            self._transport = httpx.AsyncHTTPTransport(
                verify=verify, limits=limits, uds=address.path or None, trust_env=False
            )
        return self._transport

    async def _token(self, access: Access) -> str:
        path = access.token_file
        if path is not None:
            return await self._worker.run(lambda: self._token_file.read(path))
        return access.token.reveal() if access.token is not None else ""


class TokenFile:
    """Reads a token from a file, again when the file has changed."""

    def __init__(self) -> None:
        self._read: tuple[object, ...] | None = None
        self._token = ""

    def read(self, path: str) -> str:
        """Return the token.

        Raises:
            DiscoveryError: The file cannot be read, or holds no token.
        """
        try:
            if self._read != (path, *_version(os.stat(path))):  # noqa: PTH116
                looked_at, content = read_file(path, MAX_TOKEN_BYTES)
                token = content.decode("ascii", "replace").strip()
                if not token or len(content) > MAX_TOKEN_BYTES or not usable_token(token):
                    raise DiscoveryError(f"token file {path}: holds no token")
                self._token, self._read = token, (path, *_version(looked_at))
        except OSError as error:
            raise DiscoveryError(f"token file {path}: {error.strerror}") from None
        return self._token


def _version(looked_at: os.stat_result) -> tuple[int, ...]:
    return looked_at.st_ino, looked_at.st_mtime_ns, looked_at.st_size


def _context(access: Access) -> ssl.SSLContext:
    is_directory = access.ca is not None and Path(access.ca).is_dir()
    try:
        context = ssl.create_default_context(
            cafile=None if is_directory else access.ca, capath=access.ca if is_directory else None
        )
    except OSError as error:
        raise DiscoveryError(f"ca {access.ca}: {_reason(error)}") from None
    if not access.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if access.cert is not None:
        certificate, key = (access.cert, None) if isinstance(access.cert, str) else access.cert
        try:
            context.load_cert_chain(certificate, key, password=lambda: "")  # or OpenSSL would ask at the terminal
        except OSError as error:
            raise DiscoveryError(f"cert {certificate}: {_reason(error)}") from None
    return context


def _reason(error: BaseException) -> str:
    """The words of the operating system where there are some: "Connection refused" and not its wrappings."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionError) and cause.errno:
            return os.strerror(cause.errno)  # asyncio puts words and addresses of its own in its place
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    # The HTTP library repeats what the server sent, and that may repeat the token.
    return str(error).partition(": bytearray(")[0] or type(error).__name__

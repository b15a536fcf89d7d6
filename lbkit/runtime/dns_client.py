"""Carries out the questions of the DNS sources with dnspython, under asyncio.

dnspython knows the protocol; what is added here is what a source needs to rely on:

- A limit for the whole query that holds. dnspython's own is checked between its steps and on the wall clock.
- Connected UDP sockets, so that a closed port is an error at once instead of a silence, and strangers are not heard.
- A truncated answer is asked for again over TCP, and one that is truncated even there is an error, never a short set.
- A server that does not know EDNS is asked without.
- The domains to look for a name in are gone through for all kinds of records together: A of one name and AAAA of
  another would be two services in one. The first name that exists is taken, with or without data.
- Aliases that a server does not follow by itself are followed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any

import anyio
import dns.asyncbackend
import dns.asyncquery
import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
import dns.rrset

from lbkit.discovery.dns.options import PORT
from lbkit.discovery.dns.records import CHAIN_LIMIT, Answer, DnsQuery, Record, Srv
from lbkit.errors import DiscoveryError

PAYLOAD_BYTES = 1232
"""Largest UDP answer asked for: no fragments on any usual path (DNS Flag Day 2020)."""
AT_ONCE = 16
"""Questions under way at one time, for one source."""
_NO_EDNS = {"FORMERR", "NOTIMP", "BADVERS"}
"""What servers that do not know EDNS answer to it (RFC 6891, 7)."""

# dnspython imports each type of record when it first comes in an answer, when a fork may happen (see `engine`).
dns.rdata.load_all_types(disable_dynamic_load=False)  # type: ignore[no-untyped-call]


class DnsClient:
    """Asks for one source. It holds no sockets between questions."""

    def __init__(self) -> None:
        self._backend = _Connected()
        self._resolver: dns.asyncresolver.Resolver | None = None
        self._at_once = anyio.Semaphore(AT_ONCE)

    async def ask(self, query: DnsQuery) -> tuple[Answer, ...]:
        """Return an answer for each kind of each name; what could not be asked is said in the answer.

        Raises:
            DiscoveryError: The system has no nameservers.
        """
        resolver = self._resolver = self._resolver or _resolver(query)
        answers: dict[tuple[str, str], Answer] = {}
        with anyio.move_on_after(query.timeout):
            async with anyio.create_task_group() as group:
                for name in query.names:
                    group.start_soon(self._look_for, resolver, name, query, answers)
        silence = f"no answer in {query.timeout:g} s from {_listed(_shown(str(one)) for one in resolver.nameservers)}"
        for name in query.names:
            for kind in query.kinds:
                answers.setdefault((name, kind), Answer(name, kind, error=silence))
        if any(one.error or one.missing for one in answers.values()):
            self._resolver = None  # the system's nameservers and domains may have changed meanwhile
        return tuple(answers.values())

    async def aclose(self) -> None:
        """Nothing is open."""

    async def _look_for(
        self,
        resolver: dns.asyncresolver.Resolver,
        name: str,
        query: DnsQuery,
        answers: dict[tuple[str, str], Answer],
    ) -> None:
        for candidate in _candidates(name, query.search, resolver):
            async with anyio.create_task_group() as group:
                for kind in query.kinds:
                    group.start_soon(self._answer, resolver, (name, candidate, kind), answers)
            if not all(answers[name, kind].missing for kind in query.kinds):
                return

    async def _answer(
        self,
        resolver: dns.asyncresolver.Resolver,
        question: tuple[str, dns.name.Name, str],
        answers: dict[tuple[str, str], Answer],
    ) -> None:
        name, asked, kind = question
        records: list[Record] = []
        additional: list[Record] = []
        for _ in range(CHAIN_LIMIT):
            async with self._at_once:
                try:
                    response = await self._exchange(resolver, asked, kind)
                except dns.resolver.NXDOMAIN:
                    answers[name, kind] = Answer(name, kind, missing=True)
                    return
                except (dns.exception.DNSException, OSError, EOFError) as error:
                    answers[name, kind] = Answer(name, kind, error=_why(error, resolver))
                    return
            found = response.resolve_chaining()
            records += _records([*found.cnames, *([found.answer] if found.answer else [])])
            additional += _records(response.additional)
            if found.answer or found.canonical_name == asked:
                answers[name, kind] = Answer(name, kind, tuple(records), tuple(additional))
                return
            asked = found.canonical_name
        answers[name, kind] = Answer(name, kind, error=f"more than {CHAIN_LIMIT} aliases in a row")

    async def _exchange(
        self, resolver: dns.asyncresolver.Resolver, name: dns.name.Name, kind: str
    ) -> dns.message.QueryMessage:
        options: dict[str, Any] = {"raise_on_no_answer": False, "search": False, "backend": self._backend}
        try:
            answer = await resolver.resolve(name, kind, **options)
        except dns.resolver.NoNameservers as error:
            if not any(what in _NO_EDNS for *_, what, _ in error.kwargs["errors"]):
                raise
            plain = dns.asyncresolver.Resolver(configure=False)
            plain.nameservers, plain.timeout, plain.lifetime = resolver.nameservers, resolver.timeout, resolver.lifetime
            answer = await plain.resolve(name, kind, **options)
        response = answer.response
        if response.flags & dns.flags.TC:
            raise dns.message.Truncated
        return response


class _Connected:
    """dnspython's backend for asyncio with connected UDP sockets, and a limit for dialling that leaks nothing."""

    def __init__(self) -> None:
        self._asyncio: Any = dns.asyncbackend.get_backend("asyncio")

    def datagram_connection_required(self) -> bool:
        return True

    async def make_socket(
        self,
        family: int,
        kind: int,
        protocol: int = 0,
        source: Any = None,
        destination: Any = None,
        timeout: float | None = None,
    ) -> Any:
        try:
            with anyio.fail_after(timeout):
                return await self._asyncio.make_socket(family, kind, protocol, source, destination)
        except TimeoutError:
            raise dns.exception.Timeout from None

    async def sleep(self, interval_s: float) -> None:
        await anyio.sleep(interval_s)


def _resolver(query: DnsQuery) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not query.nameservers)
    except dns.resolver.NoResolverConfiguration as error:
        raise DiscoveryError(f"the system has no nameservers: {error}; give nameservers=") from None
    servers = query.nameservers or [(str(one), PORT) for one in resolver.nameservers]
    resolver.nameservers = [dns.nameserver.Do53Nameserver(*one) for one in servers]
    resolver.lifetime = query.timeout
    # Each server has its turn within the limit, and a datagram that is lost is sent again.
    resolver.timeout = min(resolver.timeout, query.timeout / (len(resolver.nameservers) + 1))
    resolver.use_edns(0, 0, PAYLOAD_BYTES)
    return resolver


def _candidates(name: str, search: tuple[str, ...] | None, resolver: dns.asyncresolver.Resolver) -> list[dns.name.Name]:
    """Return the names to try, as resolv.conf(5) says: with enough dots as it is first, otherwise last."""
    asked = dns.name.from_text(name, None)
    if asked.is_absolute():
        return [asked]
    absolute = asked.concatenate(dns.name.root)
    if search is None:
        domains = list(resolver.search) or [resolver.domain]
    else:
        domains = [dns.name.from_text(one) for one in search]
    searched = []
    for domain in domains:
        with contextlib.suppress(dns.name.NameTooLong):  # there can be no such name
            if domain != dns.name.root:
                searched.append(asked + domain)
    is_full = len(asked) > (1 if resolver.ndots is None else resolver.ndots)
    return [absolute, *searched] if is_full else [*searched, absolute]


def _records(rrsets: Iterable[dns.rrset.RRset]) -> list[Record]:
    records = []
    for rrset in rrsets:
        name, kind = rrset.name.canonicalize().to_text(), dns.rdatatype.to_text(rrset.rdtype)
        for one in rrset:
            data: Any
            if kind in ("A", "AAAA"):
                data = one.address
            elif kind == "CNAME":
                data = one.target.canonicalize().to_text()
            elif kind == "SRV":
                data = Srv(one.priority, one.weight, one.port, one.target.canonicalize().to_text())
            else:
                continue
            records.append(Record(name, kind, float(rrset.ttl), data))
    return records


def _why(error: Exception, resolver: dns.asyncresolver.Resolver) -> str:
    """Say which server said what."""
    tries = getattr(error, "kwargs", {}).get("errors") or []
    last = {_shown(server): what for server, _, _, what, _ in tries}
    if last:
        return _listed(_said(what, server) for server, what in last.items())
    servers = _listed(_shown(str(one)) for one in resolver.nameservers)
    return _said(error, servers)


def _said(what: Exception | str, server: str) -> str:
    if isinstance(what, str):
        return f"{what} from {server}"
    if isinstance(what, dns.exception.Timeout):
        return f"no answer from {server}"
    if isinstance(what, dns.message.Truncated):
        return f"an answer from {server} that is truncated even over TCP"
    if isinstance(what, ConnectionRefusedError):
        return f"connection refused by {server}"
    if isinstance(what, EOFError | ConnectionError):
        return f"connection closed by {server}"
    if isinstance(what, OSError):
        return f"{what.strerror or type(what).__name__}: {server}"
    return f"a malformed answer ({type(what).__name__}) from {server}"


def _shown(server: str) -> str:
    """Return an address and port as people write them, instead of dnspython's "Do53:10.0.0.2@53"."""
    host, _, port = server.removeprefix("Do53:").rpartition("@")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _listed(texts: Iterable[str]) -> str:
    return ", ".join(texts)

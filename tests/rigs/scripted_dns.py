"""A DNS server in the test process that answers what a script says, however wrong, over UDP and TCP.

    def script(request, transport):
        return answer(request, "orders.test. 60 IN A 10.0.0.1")

    with ScriptedDns(script) as server:
        …                             # ask server.nameserver
        server.script = silent        # for the questions from now on

A script returns a message, its bytes, None for no answer, or `Pieces` for a TCP stream that is slow or ends early.
"""

import contextlib
import socketserver
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.rigs.ports import free_port


@dataclass(frozen=True)
class Pieces:
    """A TCP answer in pieces, the length before it included, with a pause after each; then the end of the stream."""

    pieces: Sequence[bytes]
    pause_s: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A question that came."""

    name: str
    kind: str
    transport: str
    payload_bytes: int
    """What the client can take over UDP; 0 without EDNS."""


Script = Callable[[dns.message.Message, str], Any]


class ScriptedDns:
    """The server; a context manager that leaves no thread and no socket behind."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.port = free_port()
        self.asked: list[Asked] = []
        self._closing = threading.Event()
        self._servers: list[socketserver.BaseServer] = []
        self._threads: list[threading.Thread] = []

    @property
    def nameserver(self) -> str:
        return f"127.0.0.1:{self.port}"

    def reply(self, wire: bytes, transport: str) -> Any:
        """What the script has to say to a question."""
        request = dns.message.from_wire(wire)
        question = request.question[0]
        payload_bytes = request.payload if request.edns >= 0 else 0
        kind = dns.rdatatype.to_text(question.rdtype)
        self.asked.append(Asked(question.name.to_text(), kind, transport, payload_bytes))
        said = self.script(request, transport)
        # What does not fit is the script's business: the message says itself whether it is truncated.
        return said.to_wire(max_size=65535) if isinstance(said, dns.message.Message) else said

    def __enter__(self) -> Self:
        udp = type("Udp", (_Udp,), {"rig": self})
        tcp = type("Tcp", (_Tcp,), {"rig": self})
        self._servers = [
            _UdpServer(("127.0.0.1", self.port), udp),
            _TcpServer(("127.0.0.1", self.port), tcp),
        ]
        for server in self._servers:
            thread = threading.Thread(target=server.serve_forever, args=(0.02,), name=f"scripted dns {self.port}")
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end of the server."""
        self._closing.wait(seconds)


class _UdpServer(socketserver.ThreadingUDPServer):
    daemon_threads = False


class _TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False


class _Udp(socketserver.BaseRequestHandler):
    rig: ScriptedDns

    def handle(self) -> None:
        wire, socket = self.request
        said = self.rig.reply(wire, "udp")
        for one in said if isinstance(said, list) else [said]:
            if one is not None:
                socket.sendto(one, self.client_address)


class _Tcp(socketserver.BaseRequestHandler):
    rig: ScriptedDns

    def handle(self) -> None:
        self.request.settimeout(10.0)
        with contextlib.suppress(OSError):  # the client may go whenever it likes
            length = int.from_bytes(self._exactly(2), "big")
            said = self.rig.reply(self._exactly(length), "tcp")
            if said is None:
                self.request.recv(1)  # silence until the client goes
            elif isinstance(said, Pieces):
                for one in said.pieces:
                    self.request.sendall(one)
                    self.rig.pause(said.pause_s)
            else:
                self.request.sendall(len(said).to_bytes(2, "big") + said)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.request.recv(count - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data


def answer(
    request: dns.message.Message,
    *records: str,
    additional: Sequence[str] = (),
    rcode: str = "NOERROR",
    truncated: bool = False,
) -> dns.message.Message:
    """The answer to a request, with records such as "orders.test. 60 IN A 10.0.0.1"."""
    response = dns.message.make_response(request)
    response.set_rcode(dns.rcode.from_text(rcode))
    response.answer += [_rrset(one) for one in records]
    response.additional += [_rrset(one) for one in additional]
    if truncated:
        response.flags |= dns.flags.TC
    return response


def silent(request: dns.message.Message, transport: str) -> None:
    """The script of a server that says nothing."""


def _rrset(text: str) -> dns.rrset.RRset:
    name, ttl, _, kind, data = text.split(maxsplit=4)
    return dns.rrset.from_text(name, int(ttl), "IN", kind, data)

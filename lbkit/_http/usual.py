"""The usual exchange of HTTP/1.1, without h11: half of what a small request costs is h11's state machine.

Usual is a request whose body is known, and an answer with a Content-Length and nothing else about framing, whose head
came in one piece. Both are recognised by a grammar that is narrower than h11's. Whatever does not fit, from a HEAD
request to chunks, `Connection: close`, 1xx and a bare line feed, is h11's from the first byte; so a mistake here could
only be to accept what h11 would read otherwise, and tests compare the two.
"""

from __future__ import annotations

import re

import h11

_LINE = re.compile(rb"(?!HEAD |CONNECT )[A-Z]+ [!-~]+")
_REQUEST_FRAMING = frozenset({b"connection", b"expect", b"te", b"trailer", b"transfer-encoding", b"upgrade"})
_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([ -~]*)\r\n((?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t -~\x80-\xff]*\r\n)+)\r\n"
)
_NO_BODY = frozenset({b"204", b"304"})
"""These have none, whatever their Content-Length says (RFC 9112, 6.3)."""
_MOST_DIGITS = 18

Fields = list[tuple[bytes, bytes]]


class RequestHead:
    """A request's headers, checked by h11 and written: nearly always the same as a connection's last ones.

    Attributes:
        raw: As they were given.
        length: The Content-Length, 0 without one, -1 where h11 has to look after the framing.
    """

    __slots__ = ("_block", "length", "raw")

    def __init__(self, raw: Fields) -> None:
        self.raw = raw
        self.length = -1
        self._block = b""
        try:
            checked = h11.Request(method=b"GET", target=b"/", headers=raw).headers
        except h11.LocalProtocolError:
            return  # it will say so again when it is to send them
        length = 0
        for name, value in checked:
            if name == b"content-length":
                length = int(value)
            elif name in _REQUEST_FRAMING and value.lower() != b"keep-alive":
                return
        self.length = length
        host_first = sorted(checked.raw_items(), key=lambda field: field[0].lower() != b"host")  # RFC 9110, 7.2
        self._block = b"".join([b"%b: %b\r\n" % field for field in host_first]) + b"\r\n"

    def write(self, method: str, target: bytes, body: bytes) -> bytes | None:
        """Return the whole request, None where it is not a usual one."""
        line = b"%b %b" % (method.encode("ascii"), target)
        if self.length != len(body) or not _LINE.fullmatch(line):
            return None
        return b"%b HTTP/1.1\r\n%b%b" % (line, self._block, body)


def usual_answer(data: bytes) -> tuple[int, bytes, Fields, bytes, int] | None:
    """Return status, reason, headers, the body so far and how much is still to come; None where h11 has to look.

    More than the whole body is h11's too: it knows what bytes that nobody asked for mean.
    """
    head = _HEAD.match(data)
    if head is None:
        return None
    status, reason, block = head.groups()
    if status in _NO_BODY:
        return None
    length = -1
    fields = []
    for line in block[:-2].split(b"\r\n"):
        name, _, value = line.partition(b":")
        value = value.strip(b" \t")
        fields.append((name, value))
        match name.lower():
            case b"content-length":
                if length >= 0 or not value.isdigit() or len(value) > _MOST_DIGITS:
                    return None
                length = int(value)
            case b"connection":
                if value.lower() != b"keep-alive":
                    return None
            case b"transfer-encoding" | b"upgrade":
                return None
    body = data[head.end() :]
    left = length - len(body)
    return None if left < 0 else (int(status), reason, fields, body, left)

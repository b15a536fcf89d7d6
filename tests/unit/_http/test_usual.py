"""The short way for usual HTTP/1.1 exchanges says what h11 says, or leaves the exchange to it."""

import random

import h11
import pytest

from lbkit._http.usual import RequestHead, usual_answer

NAMES = [
    b"Server", b"Content-Length", b"content-length", b"Transfer-Encoding", b"Connection", b"X", b"Upgrade", b"", b"a b",
    b"Keep-Alive", b"Content-Length ", b"X\x80", b"Set-Cookie", b"Trailer",
]  # fmt: skip
VALUES = [
    b"36", b"5", b"0", b"05", b"+5", b"5,5", b"5, 5", b" 5 ", b"", b"chunked", b"keep-alive", b"close", b"h2c",
    b"Keep-Alive, Upgrade", b"identity", b"a\tb", b"\x80\xff", b"a\x00", b"a\x0bb", b"a\rb", b"\t5\t", b"\xb2", b"1_0",
]  # fmt: skip
STATUS_LINES = [
    b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.0 200 OK", b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 101 S", b"HTTP/1.1 503 x\ty",
    b"HTTP/1.1 404 \xe9", b"HTTP/1.1  200 OK", b"HTTP/1.1 999 x", b"HTTP/1.1 2000 x", b"http/1.1 200 OK",
]  # fmt: skip


def by_h11(data):
    """What h11 makes of an answer to a GET: the same tuple, or None where it is an error or ends the connection."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "o")]))
    connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(data)
        head = connection.next_event()
        if type(head) is not h11.Response or head.http_version != b"1.1":
            return None
        body = b""
        while type(event := connection.next_event()) is h11.Data:
            body += bytes(event.data)
    except h11.RemoteProtocolError:
        return None
    known = (head.status_code, bytes(head.reason), head.headers.raw_items(), body)
    if event is h11.NEED_DATA:
        return (*known, True)
    whole = connection.their_state is h11.DONE and not connection.trailing_data[0]
    return (*known, False) if whole else None


def answers(rng, count):
    """Answers that are right, nearly right, and wrong."""
    for _ in range(count):
        fields = [(rng.choice(NAMES), rng.choice(VALUES)) for _ in range(rng.randint(0, 3))]
        body = rng.randbytes(rng.choice([0, 1, 5, 36]))
        if rng.random() < 0.8:
            fields.insert(rng.randint(0, len(fields)), (b"Content-Length", b"%d" % len(body)))
        end = b"\r\n" if rng.random() < 0.95 else rng.choice([b"\n", b"\r", b"\r\n "])
        line = STATUS_LINES[0] if rng.random() < 0.6 else rng.choice(STATUS_LINES)
        data = bytearray(line + end + b"".join(name + b": " + value + end for name, value in fields) + b"\r\n" + body)
        if rng.random() < 0.5:
            at = rng.randrange(len(data))
            if rng.random() < 0.6:
                data[at] = rng.choice([0, 9, 10, 11, 13, 32, 58, 127, 133, 160, 255, rng.randrange(256)])
            else:
                del data[at]
        yield bytes(data)


def test_an_answer_that_is_taken_is_what_h11_reads():
    """Of 20,000 answers, many of them broken, each that the short way takes means the same to h11."""
    taken = 0
    for data in answers(random.Random(11), 20_000):
        answer = usual_answer(data)
        if answer is not None:
            taken += 1
            assert (*answer[:4], answer[4] > 0) == by_h11(data), data
    assert taken > 2_000, "the comparison must see many"


def test_a_request_that_is_written_is_what_h11_writes():
    """The same bytes, but for Host, which goes first as RFC 9112 wants; what h11 refuses is never written."""
    rng = random.Random(12)
    names = [b"Content-Length", b"Connection", b"Accept", b"Expect", b"TE", b"X-A", b"Transfer-Encoding", b""]
    values = [b"5", b"0", b"5,5", b"keep-alive", b"close", b"*/*", b"100-continue", b"a\r\nX: y", b"a\nb", b"\x80", b""]
    targets = [b"/", b"/a?b=c", b"/x", b"*", b"/a b", b"/\x80", b"/a\r\nX: y", b"", b"http://o/x", b"/\x7f"]
    written = 0
    for _ in range(20_000):
        headers = [(b"Host", b"o"), *[(rng.choice(names), rng.choice(values)) for _ in range(rng.randint(0, 3))]]
        method = rng.choice(["GET", "POST", "GET", "OPTIONS", "HEAD", "CONNECT", "get", "G T", "HEADX", "PUT\r\n"])
        target, body = rng.choice(targets), rng.choice([b"", b"", b"12345", b"x"])
        data = RequestHead(headers).write(method, target, body)
        if data is None:
            continue
        written += 1
        connection = h11.Connection(h11.CLIENT)
        expected = connection.send(h11.Request(method=method, target=target, headers=headers))
        expected += (connection.send(h11.Data(data=body)) or b"") if body else b""
        expected += connection.send(h11.EndOfMessage()) or b""
        assert data == expected
    assert written > 500, "the comparison must see many"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"",
    ],
)
def test_what_is_unusual_is_left_to_h11(data):
    """Extra bytes, two lengths, chunks, close, folded lines, no length, half a head, nothing."""
    assert usual_answer(data) is None

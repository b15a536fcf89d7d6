"""An orderly GOAWAY is found and hidden however the bytes are cut; everything else passes as it came."""

import importlib
from random import Random

import pytest

from lbkit._http.h2 import UNKNOWN, Leaving


def frame(kind, payload=b"", stream=0, flags=0):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def goaway(last, error=0, debug=b""):
    return frame(7, last.to_bytes(4, "big") + error.to_bytes(4, "big") + debug)


DATA = frame(0, bytes(range(256)) * 3, stream=3)
"""Whose payload has bytes of every value."""


@pytest.mark.parametrize("size", [1, 2, 3, 8, 9, 10, 16, 17, 18, 40, 10_000])
def test_a_goaway_is_hidden_however_the_bytes_are_cut(size):
    """Between ordinary frames, with and without debug data; the smallest last stream counts."""
    sent = [DATA, frame(4), goaway(2**31 - 1), DATA, goaway(7, debug=b"bye"), frame(6, b"8 octets"), goaway(5)]
    whole = b"".join(sent)
    leaving, seen = Leaving(), b""
    for at in range(0, len(whole), size):
        seen += leaving.pass_on(whole[at : at + size])
    hidden = [one if one[3] != 7 else one[:3] + bytes([UNKNOWN]) + one[4:] for one in sent]
    assert seen == b"".join(hidden)
    assert leaving.last == 5


def test_bytes_without_a_goaway_pass_unchanged_at_random_cuts():
    """Also payloads that look like one."""
    rng = Random(1)
    for _ in range(200):
        frames = [frame(rng.choice([0, 1, 3, 4, 8, 9]), rng.randbytes(rng.randrange(60)), 1) for _ in range(8)]
        frames.insert(rng.randrange(8), frame(0, goaway(1) * 3, 1))
        whole, leaving, seen = b"".join(frames), Leaving(), b""
        while whole:
            cut = rng.randrange(1, 40)
            seen += leaving.pass_on(whole[:cut])
            whole = whole[cut:]
        assert seen == b"".join(frames)
        assert leaving.last is None


def test_a_goaway_that_reports_an_error_is_left_to_h2():
    """The connection is over at once then."""
    leaving = Leaving()
    assert leaving.pass_on(goaway(3, error=1)) == goaway(3, error=1)
    assert leaving.last is None


@pytest.mark.parametrize("core", ["httpcore", "httpcore2"])
@pytest.mark.parametrize("name", ["HTTP2Connection", "AsyncHTTP2Connection"])
def test_the_private_methods_that_are_extended_are_still_there(core, name):
    """Where this fails after an upgrade, `lbkit/_http/h2.py` needs a look."""
    kind = getattr(importlib.import_module(core), name)
    for method in ("_read_incoming_data", "_send_request_headers"):
        assert callable(getattr(kind, method))

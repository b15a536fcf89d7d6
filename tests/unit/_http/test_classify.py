"""Exceptions, statuses and Retry-After: what each means for the endpoint and for a retry."""

import importlib
import io
import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from lbkit import RetryPolicy
from lbkit._http.classify import Classifier, can_rewind, retry_after
from lbkit._http.library import Library
from lbkit.core.outcome import CANCELLED, OK, Result

LIBRARIES = [
    Library(importlib.import_module(http), importlib.import_module(core))
    for http, core in (("httpx", "httpcore"), ("httpx2", "httpcore2"))
]
RESULTS = {
    "ConnectError": Result.UNREACHABLE, "ConnectTimeout": Result.UNREACHABLE, "ReadError": Result.NO_ANSWER,
    "ReadTimeout": Result.NO_ANSWER, "WriteError": Result.NO_ANSWER, "WriteTimeout": Result.NO_ANSWER,
    "RemoteProtocolError": Result.NO_ANSWER, "PoolTimeout": Result.CANCELLED,
    "LocalProtocolError": Result.CANCELLED, "UnsupportedProtocol": Result.CANCELLED,
}  # fmt: skip


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.name)
def library(request):
    return request.param


@pytest.fixture
def classifier(library):
    return Classifier(library, RetryPolicy())


@pytest.mark.parametrize("name", RESULTS)
def test_each_exception_of_library_and_core_has_its_result(library, classifier, name):
    """HT-9, HT-10: connect-phase errors were never sent; pool, local and protocol mistakes are no verdict."""
    for module in (library.http, library.core):
        outcome = classifier.error(getattr(module, name)("text"))
        assert outcome.result is RESULTS[name]
        wanted = name not in ("LocalProtocolError", "UnsupportedProtocol")
        assert outcome.retryable is wanted


def test_the_users_exceptions_are_no_verdict(library, classifier):
    """HT-10: decoding, too many redirects, anything else, and walking away."""
    for error in (
        library.http.DecodingError("x"),
        library.http.TooManyRedirects("x"),
        ValueError(),
        KeyboardInterrupt(),
    ):
        assert classifier.error(error) is CANCELLED


def test_http2_says_more(library, classifier):
    """REFUSED_STREAM and a GOAWAY of stream 0 or below this one were not processed; a graceful GOAWAY may have been."""

    def remote(**fields):
        return classifier.error(library.core.RemoteProtocolError(SimpleNamespace(**fields)))

    assert remote(stream_id=3, error_code=7).result is Result.UNREACHABLE
    assert remote(stream_id=3, error_code=2).result is Result.NO_ANSWER
    assert (remote(last_stream_id=0, error_code=0).result, remote(last_stream_id=0).retryable) == (
        Result.CANCELLED,
        True,
    )
    assert remote(last_stream_id=3, error_code=0).result is Result.NO_ANSWER
    disowned = classifier.error(library.core.ConnectionNotAvailable())
    assert (disowned.result, disowned.retryable) == (Result.CANCELLED, True)


@pytest.mark.parametrize("status", [200, 204, 299, 301, 304, 400, 401, 404, 405, 413, 422, 499, 501, 505])
def test_statuses_that_say_nothing_against_the_endpoint(classifier, status):
    """HT-11: success up to 299, redirects, every 4xx but 429, and what a server does not do."""
    assert classifier.status(status, [(b"Retry-After", b"5")]) is OK


@pytest.mark.parametrize(("status", "retryable"), [(500, False), (502, True), (503, True), (504, True), (599, False)])
def test_statuses_that_count(classifier, status, retryable):
    """HT-11: which of them another endpoint may answer better is the policy's set."""
    outcome = classifier.status(status, [])
    assert (outcome.result, outcome.retryable, outcome.cause) == (Result.ERROR, retryable, str(status))
    assert outcome.gateway == (status in {502, 503, 504})


def test_429_and_503_with_retry_after_are_pushed_back(classifier):
    """HT-11: a pause, not a failure; 503 without the header is a failure."""
    for status, headers, retry_after_s in (
        (429, [], None), (429, [(b"retry-after", b"3")], 3.0), (503, [(b"RETRY-AFTER", b"4")], 4.0),
    ):  # fmt: skip
        outcome = classifier.status(status, headers)
        assert (outcome.result, outcome.retryable, outcome.retry_after_s) == (Result.OVERLOADED, True, retry_after_s)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("120", 120), (" 7 ", 7), ("1.5", 1.5), ("-3", 0), ("9" * 30, 1e30), ("inf", float("inf")), ("nan", None),
     ("", None), ("soon", None), ("Fri, 99 Zed 2026", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)  # fmt: skip
def test_retry_after_in_every_form(text, seconds):
    """HT-12: seconds, dates that are past, negative, huge, and nonsense."""
    assert retry_after(text) == (pytest.approx(seconds) if seconds is not None else None)


@pytest.mark.parametrize(
    "form", [str, lambda text: text.removesuffix(" GMT"), lambda text: text.replace("GMT", "+0000")]
)
def test_retry_after_as_a_date(form):
    """HT-12: with GMT, without zone, with an offset."""
    text = form(formatdate(time.time() + 100, usegmt=True))
    assert retry_after(text) == pytest.approx(100, abs=2)


def test_which_bodies_can_be_produced_again(library):
    """HT-8: bytes, forms and multipart of seekable files; no iterator, no file as plain content."""
    request = library.http.Request
    again = [
        request("GET", "http://o/"), request("POST", "http://o/", content=b"x"), request("POST", "http://o/", json=1),
        request("POST", "http://o/", data={"a": "b"}), request("POST", "http://o/", files={"f": b"x"}),
        request("POST", "http://o/", files={"f": io.BytesIO(b"x")}),
    ]  # fmt: skip

    class Pipe(io.RawIOBase):
        def read(self, size=-1):
            return b""

    once = [
        request("POST", "http://o/", content=iter([b"x"])), request("POST", "http://o/", content=io.BytesIO(b"x")),
        request("POST", "http://o/", files={"f": Pipe()}),
    ]  # fmt: skip
    assert [can_rewind(one.stream, library.http.ByteStream) for one in again] == [True] * len(again)
    assert [can_rewind(one.stream, library.http.ByteStream) for one in once] == [False] * len(once)


def test_core_errors_become_the_librarys_with_text_and_cause(library):
    """HT-14: same name, same text or that of the cause, chained."""
    for name in (*RESULTS, "ProtocolError", "NetworkError", "TimeoutException"):
        error = getattr(library.core, name)("what happened")
        translated = library.translate(error)
        assert type(translated) is getattr(library.http, name)
        assert (str(translated), translated.__cause__) == ("what happened", error)
    wordless = library.core.ConnectError()
    wordless.__cause__ = OSError("the reason")
    assert str(library.translate(wordless)) == "the reason"
    assert str(library.translate(library.core.ReadTimeout())) == "the endpoint did not answer in time"
    mine = ValueError()
    assert library.translate(mine) is mine
    leaving = library.translate(library.core.ConnectionNotAvailable())
    assert type(leaving) is library.http.RemoteProtocolError
    assert "before it processed" in str(leaving)

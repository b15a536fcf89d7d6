"""The errors: what they say, and which built-in ones they also are."""

import pickle

import pytest

from lbkit.errors import (
    ClusterClosed,
    ConfigError,
    DeadlineExceeded,
    DiscoveryError,
    LbkitError,
    LeaseMisuse,
    NoEndpointAvailable,
    NotReady,
)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigError, ValueError),
        (NoEndpointAvailable, ConnectionError),
        (NotReady, NoEndpointAvailable),
        (DeadlineExceeded, TimeoutError),
        (DiscoveryError, Exception),
        (ClusterClosed, RuntimeError),
        (LeaseMisuse, RuntimeError),
    ],
)
def test_every_error_has_one_root_and_the_built_in_class_that_fits(kind, builtin):
    """`except` clauses that people have already go on working."""
    assert issubclass(kind, LbkitError)
    assert issubclass(kind, builtin)


@pytest.mark.parametrize(
    ("reasons", "retry_after_s", "text"),
    [
        ({}, None, "orders: no endpoints are known"),
        ({"open": 1}, None, "orders: 1 endpoint, 1 open"),
        (
            {"open": 2, "draining": 1},
            1.5,
            "orders: 3 endpoints, 1 draining, 2 open; the first may be tried again in 1.5 s",
        ),
    ],
)
def test_no_endpoint_available_counts_the_reasons(reasons, retry_after_s, text):
    """The message names the cluster, the numbers and the time; the attributes say the same to programs."""
    error = NoEndpointAvailable("orders", reasons, retry_after_s)
    assert str(error) == text
    assert (error.cluster, dict(error.reasons), error.retry_after_s) == ("orders", reasons, retry_after_s)
    with pytest.raises(TypeError):
        error.reasons["open"] = 5


def test_not_ready_says_what_is_missing():
    """It is the membership, not an endpoint."""
    assert str(NotReady("orders", {})) == "orders: no membership is known yet"
    assert (
        str(NotReady("orders", {}, None, "dns://a:80: NXDOMAIN"))
        == "orders: no membership is known yet: dns://a:80: NXDOMAIN"
    )


@pytest.mark.parametrize(
    "error",
    [
        NoEndpointAvailable("orders", {"open": 2}, 1.5),
        NoEndpointAvailable("orders", {}, None, "mine: empty"),
        NotReady("orders", {}, None, "mine: no answer yet"),
        ClusterClosed("orders was closed"),
        DeadlineExceeded("orders: the deadline has passed"),
    ],
)
def test_errors_can_be_pickled(error):
    """What a worker process raises reaches the one that waits for it, notes included."""
    error.add_note("1 attempt")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__notes__) == (type(error), str(error), ["1 attempt"])
    assert vars(again) == vars(error)

"""The allow-list: what a source may answer, and what becomes of the rest."""

import pytest

from lbkit.core.endpoint import Endpoint
from lbkit.discovery.allow import Allow
from lbkit.errors import ConfigError, DiscoveryError


def endpoints(*texts, target=None):
    """Return endpoints, with the name of their SRV target."""
    return [Endpoint.parse(one, metadata={"target": target} if target else {}) for one in texts]


def ids(kept):
    """Return the identities of what was kept."""
    return [one.id for one in kept]


def test_without_a_list_everything_is_allowed():
    """The list is a choice; an empty one changes nothing."""
    everything = endpoints("10.0.0.1:80", "evil.example:80")
    assert not Allow.of(())
    assert Allow.of(()).sift(everything) == (tuple(everything), "")


@pytest.mark.parametrize(
    ("texts", "allowed", "refused"),
    [
        (["10.0.0.0/8"], "10.255.0.1:80", "11.0.0.1:80"),
        (["10.0.0.1"], "10.0.0.1:80", "10.0.0.2:80"),
        (["fd00::/8"], "[fd12::1]:80", "[fe80::1]:80"),
        (["::1"], "[::1]:80", "[::2]:80"),
        (["192.0.2.0/24", "10.0.0.0/8"], "10.0.0.1:80", "10.0.0.1.example:80"),
        (["10.0.0.0/8"], "[::ffff:10.0.0.1]:80", "[::ffff:127.0.0.1]:80"),
        (["::/0", "10.0.0.0/8"], "[2001:db8::1]:80", "[::ffff:127.0.0.1]:80"),
        ([".svc.internal"], "a.b.SVC.internal:80", "svc.internal:80"),
        ([".svc.internal"], "a.svc.internal:80", "evilsvc.internal:80"),
        ([".svc.internal"], "a.svc.internal.:80", "svc.internal.:80"),
        (["orders.internal."], "orders.internal:80", "x.orders.internal:80"),
        ([".bücher.example"], "a.xn--bcher-kva.example:80", "a.bucher.example:80"),
        ([".svc.internal"], "a.svc.internal:80", "10.0.0.1:80"),
        (["10.0.0.0/8"], "10.0.0.1:80", "a.svc.internal:80"),
    ],
)
def test_networks_speak_of_addresses_and_suffixes_of_names(texts, allowed, refused):
    """What no entry speaks of is refused, the other kind included; an IPv4 address is one in IPv6 spelling too."""
    kept, problem = Allow.of(texts).sift(endpoints(refused, allowed))
    assert ids(kept) == ids(endpoints(allowed))
    assert problem == f"dropped, not on the allow-list: {endpoints(refused)[0].id}"


@pytest.mark.parametrize(
    ("texts", "address", "target", "is_kept"),
    [
        (["10.0.0.0/8", ".svc.internal"], "10.0.0.1:80", "a.svc.internal", True),
        (["10.0.0.0/8", ".svc.internal"], "10.0.0.1:80", "a.evil.example", False),
        (["10.0.0.0/8", ".svc.internal"], "203.0.113.9:80", "a.svc.internal", False),
        ([".svc.internal"], "203.0.113.9:80", "a.svc.internal", True),
        (["10.0.0.0/8"], "10.0.0.1:80", "a.evil.example", True),
    ],
)
def test_of_a_target_both_the_name_and_the_address_must_be_allowed(texts, address, target, is_kept):
    """Where both kinds are written; where one is, it decides."""
    fine = endpoints("10.9.9.9:80", target="fine.svc.internal")
    kept, _ = Allow.of(texts).sift(endpoints(address, target=target) + fine, label="target")
    assert (address in ids(kept)) is is_kept


def test_the_dropped_are_named_but_not_all_of_them():
    """A message stays readable after a takeover with a thousand addresses."""
    kept, problem = Allow.of(["10.0.0.1"]).sift(endpoints(*(f"10.0.0.{n}:80" for n in range(1, 9))))
    assert ids(kept) == ["10.0.0.1:80"]
    assert problem == "dropped, not on the allow-list: 10.0.0.2:80, 10.0.0.3:80, 10.0.0.4:80 and 4 more"


def test_an_answer_of_which_nothing_is_allowed_is_a_failure_and_not_an_empty_set():
    """The last good set must survive a hijack."""
    with pytest.raises(
        DiscoveryError, match=r"none of the 1 endpoints is on the allow-list: a\.evil at 10\.0\.0\.1:80"
    ):
        Allow.of([".svc.internal"]).sift(endpoints("10.0.0.1:80", target="a.evil"), label="target")
    assert Allow.of([".svc.internal"]).sift([]) == ((), "")


@pytest.mark.parametrize(
    "texts",
    [
        "10.0.0.0/8",
        [1],
        [""],
        ["."],
        ["10.0.0.1/8"],
        ["10.0.0"],
        ["a/b"],
        ["*.internal"],
        ["a..b"],
        ["a:80"],
        ["ü" * 80],
    ],
)
def test_what_cannot_be_read_is_refused(texts):
    """At construction, with the text in question."""
    with pytest.raises(ConfigError, match="allow"):
        Allow.of(texts)

"""Clusters that follow a source, through every transport: what an application sees while nothing is known."""

import pickle

import pytest

from lbkit import Cluster, NoEndpointAvailable, NotReady
from lbkit.errors import DiscoveryError
from tests.rigs.sources import Scripted
from tests.twins.twin import twin


@twin
async def test_a_request_before_anything_is_known_fails_as_the_librarys_own_error(face):
    """DI-1: `except httpx.ConnectError` sees it, it is a NotReady, and it says what the source said."""
    source = Scripted("mine")
    source.fail(DiscoveryError("no leader"))
    cluster = Cluster("orders", source, start_timeout=0.2)
    async with face.balanced(cluster) as client:
        with pytest.raises(face.http.ConnectError, match="no membership is known yet: mine: no leader") as caught:
            await client.get("/")
        assert isinstance(caught.value, NotReady)
        assert caught.value.waits_for == "mine: no leader"
    cluster.close()


@twin
async def test_a_request_to_a_cluster_without_endpoints_says_why(face):
    """The source has answered that there are none."""
    source = Scripted("mine")
    source.say()
    cluster = Cluster("orders", source, start_timeout=0.2)
    async with face.balanced(cluster) as client:
        cluster.open()
        await face.eventually(lambda: cluster.balancer.is_ready)
        with pytest.raises(face.http.ConnectError, match="no endpoints are known: mine: the source has no endpoints"):
            await client.get("/")
    cluster.close()


@twin
async def test_a_first_request_waits_for_the_source_and_is_served(face, pair):
    """No request is lost to a start."""
    source = Scripted()
    cluster = Cluster("orders", source)
    async with face.balanced(cluster) as client:

        async def answer():
            await face.sleep(0.1)
            source.say(pair[0].address)

        async def ask():
            assert (await client.get("/")).status_code == 200

        assert await face.together(ask, answer) == [None, None]
    cluster.close()


@twin
async def test_errors_survive_the_way_from_a_worker_process(face):
    """Pickled and back: the kind, what it says, and its notes."""
    cluster = Cluster("orders", ["127.0.0.1:9"])
    cluster.drain("127.0.0.1:9")
    async with face.balanced(cluster) as client:
        with pytest.raises(NoEndpointAvailable) as caught:
            await client.get("/")
    caught.value.add_note("a note")
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is type(caught.value) and isinstance(again, face.http.ConnectError)
    assert (str(again), again.reasons, again.__notes__) == (str(caught.value), {"draining": 1}, ["a note"])

"""A scenario as a test: written once as a coroutine function, run under the face it is given, and checked for leaks."""

import functools

from tests.rigs.leaks import leak_check


def twin(function):
    """Make a test of `async def test_...(face, ...)`."""

    @functools.wraps(function)
    def test(face, **fixtures):
        async def scenario():
            if face.sync:
                with leak_check():
                    await function(face, **fixtures)
            else:
                async with leak_check():
                    await function(face, **fixtures)

        face.run(scenario)

    return test


def addresses(servers):
    """Where the servers are, for a cluster."""
    return [f"unix:{server.unix}" if getattr(server, "unix", None) else server.address for server in servers]


def pools(client):
    """The pools of a client's transport."""
    return client.raw._transport._core.homes.pools()


def header(response, name):
    """A header as the replica's /headers route saw it, None where it was not sent."""
    return next((value for key, value in response.json()["headers"] if key.lower() == name.lower()), None)

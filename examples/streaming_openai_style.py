"""A vendor's API client that takes `http_client=`, over several replicas of a streaming API.

A stream of server-sent events holds its replica's lease to the end, so a scheduler sees who is busy streaming.
"""

import importlib.util
import json
from collections.abc import Iterator
from typing import Any

import httpx
from _replicas import Replica, replicas

from lbkit import Cluster
from lbkit.httpx import BalancedTransport


class Chat:
    """What such clients look like inside: they build requests, and send them through the client they were given."""

    def __init__(self, *, api_key: str, base_url: str, http_client: Any) -> None:
        self._url = f"{base_url}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"}
        self._http = http_client

    def stream(self, prompt: str) -> Iterator[str]:
        """Yield the words of the answer as they come."""
        body = {"messages": [{"role": "user", "content": prompt}], "stream": True}
        with self._http.stream("POST", self._url, json=body, headers=self._headers) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                data = line.removeprefix("data: ")
                if data == "[DONE]":
                    return
                if data:
                    yield json.loads(data)["choices"][0]["delta"]["content"]


def in_flight(cluster: Cluster) -> int:
    return sum(endpoint.in_flight for endpoint in cluster.stats().endpoints)


def show(library: str, cluster: Cluster, http_client: Any, running: list[Replica]) -> None:
    chat = Chat(api_key="not-a-secret", base_url="http://models/v1", http_client=http_client)
    words = chat.stream("hello")
    first = next(words)
    print(f"{library}: in flight during the stream: {in_flight(cluster)}")
    text = first + "".join(words)
    print(f"{library}: in flight after it: {in_flight(cluster)}")

    killed = next(one for one in running if text.endswith(one.name))
    killed.kill()
    others = {"".join(chat.stream("hello")) for _ in range(4)}
    print(f"{library}: streams that avoid the killed {killed.name}: {len(others)} of 2 others at most")
    assert not any(text.endswith(killed.name) for text in others)
    killed.start()


with replicas(3) as running:
    addresses = [one.address for one in running]
    models = Cluster("models", addresses, scheduler="least_connections")
    with httpx.Client(transport=BalancedTransport(models)) as client:
        show("httpx", models, client, running)

    if importlib.util.find_spec("httpx2"):
        import httpx2

        from lbkit.httpx2 import BalancedTransport as BalancedTransport2

        models = Cluster("models", addresses, scheduler="least_connections")
        with httpx2.Client(transport=BalancedTransport2(models)) as client2:
            show("httpx2", models, client2, running)

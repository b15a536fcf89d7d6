"""The flow of one request: lease, connection, head, body, verdict, and again.

Written once for both faces (see `face`). Decisions are the call's and the classifier's; here is only input and output,
and the order in which things are given back: whatever happens at whichever await, `Use.end` runs and does not wait.
"""

from __future__ import annotations

import math
from typing import Any

from lbkit._http.body import AsyncBody, StreamTypes, Use
from lbkit._http.classify import IDEMPOTENT, Classifier, can_rewind, is_stream_reset
from lbkit._http.face import Face
from lbkit._http.homes import Homes
from lbkit._http.library import Library
from lbkit._http.line import Line
from lbkit._http.options import NO_OPTIONS, CallOptions, call_options
from lbkit._http.pool import Channel, Pool, PoolFull, Turn
from lbkit.balancer.call import Call, RetryAfter
from lbkit.balancer.lease import Lease
from lbkit.core.outcome import OK, Outcome
from lbkit.errors import DeadlineExceeded, NoEndpointAvailable
from lbkit.runtime.cluster import Cluster

NO_TIMEOUTS: dict[str, float | None] = {}


class Exchange:
    """Sends requests of one transport."""

    def __init__(self, library: Library, cluster: Cluster, face: Face, homes: Homes, options: dict[str, Any]) -> None:
        self._library = library
        self._cluster = cluster
        self._clock = cluster.balancer.clock
        self._face = face
        self._homes = homes
        self._classifier = Classifier(library, cluster.retry)
        self._types = StreamTypes(library)
        self._body_type = self._types.async_body if face.multiplexes else self._types.sync_body
        self._buffer_bytes = options["buffer_bytes"]
        self._per_try = cluster.retry.per_try_timeout

    async def send(self, request: Any) -> Any:
        """Send a request of the library and return its response, open."""
        extension = request.extensions.get("lbkit")
        options = NO_OPTIONS if extension is None else call_options(extension)
        call = self._cluster.call(
            replayable=_replayable(request, options), deadline=options.deadline, hash_key=options.hash_key
        )
        fallback: Any = None
        body = None if can_rewind(request.stream, self._types.bytes) else self._types.one_shot(request.stream)
        while True:
            try:
                lease = call.begin()
            except NoEndpointAvailable as error:
                nap_s = call.patience(error)
                if nap_s is not None:
                    await self._face.sleep(nap_s)
                    continue
                if fallback is not None:
                    return fallback
                raise self._library.host_error(error) from None
            except DeadlineExceeded as error:
                if fallback is not None:
                    return fallback
                raise self._library.host_error(error) from None
            try:
                answer = await self._attempt(request, body, lease, call)
            except BaseException as error:
                verdict = call.judge(
                    lease, self._classifier.error(error), error=error, can_resend=body is None or not body.begun
                )
                if not isinstance(verdict, RetryAfter):
                    if not isinstance(error, Exception):
                        raise
                    if fallback is not None:
                        return fallback
                    translated = self._library.translate(error)
                    if call.failed:
                        translated.add_note(f"lbkit{call.history()}")
                    if translated is error:
                        raise
                    raise translated from error
            else:
                outcome, response, use = answer
                if use is None and outcome is OK:  # nearly always: one lock instead of two
                    lease.release(outcome)
                    return response
                verdict = call.judge(lease, outcome, can_resend=body is None or not body.begun)
                if not isinstance(verdict, RetryAfter):
                    if use is None:
                        lease.release()
                    return response
                if use is None:
                    fallback = response  # a real answer is better than a later transport error
                else:
                    use.lease = None  # released by the verdict
                    await self._discard(response, use)
            if verdict.delay_s > 0:
                await self._face.sleep(verdict.delay_s)

    async def _attempt(self, request: Any, body: Any, lease: Lease, call: Call) -> tuple[Outcome, Any, Use | None]:
        """Send to the lease's endpoint. The last of the answer is its open use, None where the body was read."""
        if self._homes.inner is not None:
            return await self._attempt_inner(request, body, lease, call)
        endpoint = lease.endpoint
        url = request.url
        if endpoint.scheme is not None and endpoint.scheme != url.scheme:
            raise self._library.http.UnsupportedProtocol(
                f"the request is {url.scheme}:// and endpoint {endpoint.id} was given as {endpoint.scheme}://"
            )
        timeouts = request.extensions.get("timeout", NO_TIMEOUTS)
        pool = self._homes.pool(endpoint, url)
        while True:
            channel = await self._checkout(pool, endpoint, url, timeouts, call)
            try:
                return await self._use(request, body, lease, call, pool, channel, timeouts)
            except self._library.core.ConnectionNotAvailable:
                if not channel.shared or channel.speaks_http2():
                    raise
                # Several requests shared a connection that was still dialling, and it turned out to be HTTP/1.1:
                # one has it, nothing of the others was sent.
                pool.unshare(channel)

    async def _use(
        self, request: Any, body: Any, lease: Lease, call: Call, pool: Pool, channel: Channel, timeouts: Any
    ) -> tuple[Outcome, Any, Use | None]:
        endpoint = lease.endpoint
        use = Use(lease, pool, channel, self._clock)
        handed_over = False
        try:
            limit = self._aim(channel, timeouts, call)
            core_request = self._core_request(request, body, endpoint)
            answer = await self._face.send(channel.connection, core_request, limit)
            lease.mark_head()
            end = math.inf if call.deadline is None else call.deadline
            channel.line.head_came(end)
            if channel.shared and answer.extensions.get("http_version") != b"HTTP/2":
                pool.unshare(channel)
            outcome = self._classifier.status(answer.status, answer.headers)
            extensions = answer.extensions
            extensions["lbkit"] = {"endpoint": endpoint.id, "attempt": len(call.failed) + 1}
            limit = call.remaining() if channel.shared else None
            if self._small(request.method, answer.status, answer.headers):
                content = await self._face.read(answer.stream, limit)
                use.whole = True
                response = self._response(answer.status, answer.headers, self._types.bytes(content), extensions)
                return outcome, response, None
            stream = self._body_type(answer.stream, use, self._library, self._classifier)
            if isinstance(stream, AsyncBody) and channel.shared and call.deadline is not None:
                stream.limit = call.remaining
            handed_over = True
            return outcome, self._response(answer.status, answer.headers, stream, extensions), use
        except self._library.core.RemoteProtocolError as error:
            use.whole = is_stream_reset(error)  # the stream is over, the connection is not
            raise
        finally:
            if not handed_over:
                use.end_channel()

    async def _attempt_inner(
        self, request: Any, body: Any, lease: Lease, call: Call
    ) -> tuple[Outcome, Any, Use | None]:
        timeouts = request.extensions.get("timeout", NO_TIMEOUTS)
        transport = self._homes.inner_for(lease.endpoint)
        copy = self._homes.rewritten(request, body, lease.endpoint, self._limit(timeouts, call))
        response = await self._face.send_inner(transport, copy, self._limit(None, call))
        lease.mark_head()
        outcome = self._classifier.status(response.status_code, response.headers.raw)
        extensions = {**response.extensions, "lbkit": {"endpoint": lease.endpoint.id, "attempt": len(call.failed) + 1}}
        headers = response.headers.raw
        if self._small(request.method, response.status_code, headers):
            content = await self._face.read(response.stream, call.remaining())
            return outcome, self._response(response.status_code, headers, self._types.bytes(content), extensions), None
        use = Use(lease, None, None, self._clock)
        stream = self._body_type(response.stream, use, self._library, self._classifier)
        if isinstance(stream, AsyncBody) and call.deadline is not None:
            stream.limit = call.remaining
        return outcome, self._response(response.status_code, headers, stream, extensions), use

    async def _checkout(self, pool: Pool, endpoint: Any, url: Any, timeouts: Any, call: Call) -> Channel:
        while True:
            channel = pool.checkout(self._clock())
            if channel is not None:
                return channel
            waiter = self._face.waiter()
            try:
                turn = pool.reserve(waiter)
            except PoolFull:
                raise self._library.core.PoolTimeout(f"too many requests wait for {endpoint.id}") from None
            if turn is Turn.WAIT:
                try:
                    await waiter.wait(_least(timeouts.get("pool"), call.remaining()))
                except BaseException:
                    pool.leave(waiter, self._clock())
                    raise
                if not waiter.granted:
                    pool.leave(waiter, self._clock())
                    if not waiter.granted:
                        raise self._library.core.PoolTimeout(f"no connection to {endpoint.id} became free in time")
                if waiter.channel is not None:
                    return waiter.channel
                turn = Turn.SLOT
            if turn is Turn.SLOT:
                return self._homes.open(pool, endpoint, url, self._clock())

    def _aim(self, channel: Channel, timeouts: Any, call: Call) -> float | None:
        """Bound the attempt: exclusive connections by their line, shared ones by the returned limit in seconds."""
        if channel.shared:
            return self._limit(timeouts, call)
        limit = self._limit(None, call)
        channel.line.begin(math.inf if limit is None else self._clock() + limit)
        return None

    def _limit(self, timeouts: Any, call: Call) -> float | None:
        """Return the seconds for one attempt's head: the least of the policy's, the call's and the request's own."""
        own = None
        if timeouts:
            connect, read = timeouts.get("connect"), timeouts.get("read")
            own = None if connect is None or read is None else connect + read
        return _least(_least(self._per_try, call.remaining()), own)

    def _core_request(self, request: Any, body: Any, endpoint: Any) -> Any:
        core = self._library.core
        url = request.url
        extensions = request.extensions
        if endpoint.server_name is not None and "sni_hostname" not in extensions:
            extensions = {**extensions, "sni_hostname": endpoint.server_name}
        return core.Request(
            method=request.method,
            url=core.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream if body is None else body,
            extensions=extensions,
        )

    def _response(self, status: int, headers: Any, stream: Any, extensions: Any) -> Any:
        return self._library.http.Response(status, headers=headers, stream=stream, extensions=extensions)

    def _small(self, method: str, status: int, headers: Any) -> bool:
        """Whether the body's length is known and small, so that it is read at once."""
        if not self._buffer_bytes:
            return False
        if method == "HEAD" or status in (204, 304):
            return True
        for name, value in headers:
            if name.lower() == b"content-length":
                return value.isdigit() and int(value) <= self._buffer_bytes
        return False

    async def _discard(self, response: Any, use: Use) -> None:
        try:
            await self._face.close(response.stream)
        finally:
            use.end_channel()


def _replayable(request: Any, options: CallOptions) -> bool:
    if options.replayable is not None:
        return options.replayable
    return request.method in IDEMPOTENT or "idempotency-key" in request.headers


def _least(one: float | None, other: float | None) -> float | None:
    if one is None or (other is not None and other < one):
        return other
    return one



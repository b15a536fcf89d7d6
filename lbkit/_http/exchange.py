"""The flow of one request: lease, connection, head, body, verdict, and again.

Written once for both faces (see `face`). Decisions are the call's and the classifier's; here is only input and output,
and the order in which things are given back: whatever happens at whichever await, `Use.end` runs and does not wait.
"""

from __future__ import annotations

import math
from typing import Any

from lbkit._http.body import StreamTypes, Use, give_back
from lbkit._http.classify import IDEMPOTENT, Classifier, can_rewind, is_stream_reset
from lbkit._http.face import Face
from lbkit._http.h1 import Answer, H1Connection
from lbkit._http.homes import Homes
from lbkit._http.library import Library
from lbkit._http.options import NO_OPTIONS, CallOptions, call_options
from lbkit._http.pool import Channel, Pool, PoolFull, Turn
from lbkit._http.shared import Limits
from lbkit.balancer.call import Call, RetryAfter
from lbkit.balancer.lease import Lease
from lbkit.core.outcome import CANCELLED, OK, Outcome
from lbkit.errors import ClusterClosed, DeadlineExceeded, NoEndpointAvailable
from lbkit.runtime.cluster import Cluster

NO_TIMEOUTS: dict[str, float | None] = {}
LOOK_S = 0.5
"""How often a waiter looks for responses that were dropped unread, in seconds: a finalizer can wake nobody."""


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
        replayable = _replayable(request, options)
        try:
            call = self._cluster.call(replayable=replayable, deadline=options.deadline, hash_key=options.hash_key)
        except ClusterClosed as error:
            raise self._library.host_error(error) from None
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
                refused = self._library.host_error(error)
                if call.failed:
                    refused.add_note(f"lbkit: {call.history()}")
                raise refused from None
            except DeadlineExceeded as error:
                if fallback is not None:
                    return fallback
                raise self._library.host_error(error) from None
            try:
                answer = await self._attempt(request, body, lease, call)
            except BaseException as error:
                outcome = self._classifier.error(error)
                verdict = call.judge(lease, outcome, error=error, can_resend=body is None or not body.begun)
                if not isinstance(verdict, RetryAfter):
                    if not isinstance(error, Exception):
                        raise
                    if fallback is not None and outcome is not CANCELLED:  # which is the user's own exception
                        return fallback
                    translated = self._library.translate(error)
                    if call.failed:
                        translated.add_note(f"lbkit: {call.history()}")
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
        limit = _least(self._per_try, call.remaining())
        end = math.inf if limit is None else self._clock() + limit  # of the wait for a connection, and up to the head
        pool: Pool | None = None
        if self._face.detours(request):
            channel = self._homes.open(endpoint, math.inf)
            self._homes.detour(channel, url)
        else:
            pool = self._homes.pool(endpoint, url)
            channel = pool.checkout(self._clock()) or await self._checkout(pool, endpoint, timeouts, end)
        keep = whole = False
        try:
            if channel.connection is None:
                await self._dial(channel, endpoint, request, pool, timeouts, end)
            limits = Limits(timeouts, self._clock, end) if channel.shared else None
            answer = await self._ask(request, body, endpoint, channel, timeouts, limits, end)
            lease.mark_head()
            end = math.inf if call.deadline is None else call.deadline
            if limits is None:
                channel.line.head_came(end)
            else:
                limits.end = end
            outcome = self._classifier.status(answer.status, answer.headers)
            extensions = answer.extensions
            extensions["lbkit"] = {"endpoint": endpoint.id, "attempt": len(call.failed) + 1}
            content = answer.content if type(answer) is Answer and self._buffer_bytes else None
            if content is not None:
                answer.stream.close()
            elif self._small(request.method, answer.status, answer.headers):
                content = await self._face.read(answer.stream, limits)
            if content is not None:
                whole = True
                response = self._response(answer.status, answer.headers, self._types.bytes(content), extensions)
                return outcome, response, None
            use = Use(lease, pool, channel, self._clock)
            stream = self._body_type(answer.stream, use, self._library, self._classifier, limits)
            response = self._response(answer.status, answer.headers, stream, extensions)
            keep = True
            return outcome, response, use  # noqa: TRY300 - the finally block belongs to it
        except self._library.core.RemoteProtocolError as error:
            whole = is_stream_reset(error)  # the stream is over, the connection is not
            raise
        finally:
            if not keep:
                give_back(pool, channel, self._clock(), whole=whole)

    async def _dial(
        self, channel: Channel, endpoint: Any, request: Any, pool: Pool | None, timeouts: Any, end: float
    ) -> None:
        channel.line.begin(end)
        await self._homes.dial(channel, endpoint, request, timeouts.get("connect"))
        if channel.shared:
            channel.line.head_came(math.inf)  # one line cannot bound several requests: each has limits of its own
        if pool is not None:
            pool.dialled(channel)

    async def _ask(
        self, request: Any, body: Any, endpoint: Any, channel: Channel, timeouts: Any, limits: Limits | None, end: float
    ) -> Any:
        """Send on a channel, and return the head of the answer."""
        connection = channel.connection
        if limits is not None:
            return await self._face.send(connection, self._core_request(request, body, endpoint, {}), limits)
        channel.line.begin(end)
        if type(connection) is H1Connection:
            content = request.stream if body is None else body
            if isinstance(content, self._types.bytes):
                content = b"".join(content) or None  # type: ignore[arg-type]
            target = request.extensions.get("target", request.url.raw_path)
            return await connection.exchange(request.method, target, request.headers.raw, content, timeouts)
        return await self._face.send(connection, self._core_request(request, body, endpoint, timeouts), None)

    async def _attempt_inner(
        self, request: Any, body: Any, lease: Lease, call: Call
    ) -> tuple[Outcome, Any, Use | None]:
        transport = self._homes.inner_for(lease.endpoint)
        limit = _least(self._per_try, call.remaining())
        copy = self._homes.rewritten(request, body, lease.endpoint, limit)
        response = await self._face.send_inner(transport, copy, limit)
        lease.mark_head()
        outcome = self._classifier.status(response.status_code, response.headers.raw)
        extensions = {**response.extensions, "lbkit": {"endpoint": lease.endpoint.id, "attempt": len(call.failed) + 1}}
        headers = response.headers.raw
        limits = None if call.deadline is None else Limits(NO_TIMEOUTS, self._clock, call.deadline)
        if self._small(request.method, response.status_code, headers):
            content = await self._face.read(response.stream, limits)
            return outcome, self._response(response.status_code, headers, self._types.bytes(content), extensions), None
        use = Use(lease, None, None, self._clock)
        stream = self._body_type(response.stream, use, self._library, self._classifier, limits)
        return outcome, self._response(response.status_code, headers, stream, extensions), use

    async def _checkout(self, pool: Pool, endpoint: Any, timeouts: Any, end: float) -> Channel:
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
                left = None if end == math.inf else end - self._clock()
                granted = await self._wait(pool, waiter, _least(timeouts.get("pool"), left))
                if granted is None:
                    raise self._library.core.PoolTimeout(f"no connection to {endpoint.id} became free in time")
                if waiter.channel is not None:
                    return waiter.channel  # type: ignore[no-any-return]
                turn = granted
            if turn is Turn.SLOT:
                return self._homes.open(endpoint, pool.retire_at(self._clock()))

    async def _wait(self, pool: Pool, waiter: Any, timeout: float | None) -> Turn | None:
        end = math.inf if timeout is None else self._clock() + timeout
        try:
            while waiter.turn is None:
                now = self._clock()
                if now >= end:
                    break
                await waiter.wait(min(LOOK_S, end - now))
                pool.settle_dropped(self._clock())
        except BaseException:
            pool.leave(waiter, self._clock())
            raise
        turn: Turn | None = waiter.turn
        if turn is None:
            pool.leave(waiter, self._clock())  # which may find that it was granted something just now
        return turn

    def _core_request(self, request: Any, body: Any, endpoint: Any, timeouts: Any) -> Any:
        core = self._library.core
        url = request.url
        extensions = {**request.extensions, "timeout": timeouts}
        if endpoint.server_name is not None:
            extensions.setdefault("sni_hostname", endpoint.server_name)
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
                return bool(value.isdigit()) and int(value) <= self._buffer_bytes
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

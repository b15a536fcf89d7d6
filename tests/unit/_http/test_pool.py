"""The pool's decisions, against a model: whatever happens in whichever order, no slot is lost and nobody waits in vain."""

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lbkit._http.line import Line
from lbkit._http.pool import Channel, Pool, PoolFull, PoolLimits, Turn


class Wire:
    """Connection and dialler in one, as far as the pool sees them."""

    def __init__(self):
        self.closed = self.dead = False
        self.idle = True
        self.available = True

    def close(self):
        self.closed = True

    disown = close

    def is_dead(self):
        return self.dead

    def is_idle(self):
        return self.idle

    def is_available(self):
        return self.available and not self.closed

    def has_expired(self):
        return self.dead


class Waiter:
    def __init__(self):
        self.turn = None
        self.channel = None
        self.woken = 0

    def wake(self):
        self.woken += 1


def pool_of(connections=None, idle=100, waiting=1000, age=None, idle_s=5.0, *, sharing=False):
    return Pool(PoolLimits(connections, idle, idle_s, age, waiting), Random(1), sharing=sharing)


def channel_of(pool, now=0.0):
    wire = Wire()
    channel = Channel(wire, Line(lambda: now), pool.retire_at(now))
    return channel, wire


def connect(channel, wire, pool, *, shared=False):
    channel.connection = wire
    channel.shared = channel.http2 = shared
    pool.dialled(channel)


class Use(RuleBasedStateMachine):
    """Random requests over one pool: open, wait, finish, break, time out, be dropped, expire."""

    sharing = False

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.dialling = []
        self.busy = []
        self.waiting = []
        self.wires = []
        self.limit = 3
        self.pool = pool_of(self.limit, idle=2, waiting=4, age=50.0, sharing=self.sharing)

    def granted(self):
        """Those that were woken go on, as their tasks would."""
        for waiter in [one for one in self.waiting if one.turn is not None]:
            self.waiting.remove(waiter)
            assert waiter.woken == 1
            if waiter.channel is not None:
                self.busy.append(waiter.channel)
            elif waiter.turn is Turn.SLOT:
                self.open()
            else:
                self.ask()

    def open(self):
        channel, wire = channel_of(self.pool, self.now)
        self.wires.append(wire)
        self.dialling.append((channel, wire))

    def ask(self):
        channel = self.pool.checkout(self.now)
        if channel is not None:
            assert not channel.dialer.closed
            assert not channel.dialer.dead or channel.active > 1
            self.busy.append(channel)
            return
        waiter = Waiter()
        try:
            turn = self.pool.reserve(waiter)
        except PoolFull:
            assert len(self.waiting) == 4
            return
        if turn is Turn.SLOT:
            self.open()
        elif turn is Turn.WAIT:
            self.waiting.append(waiter)
        else:
            self.ask()

    @rule()
    def request(self):
        self.ask()
        self.granted()

    @precondition(lambda self: self.dialling)
    @rule(shared=st.booleans(), good=st.booleans())
    def dial_ends(self, shared, good):
        channel, wire = self.dialling.pop(0)
        if good:
            connect(channel, wire, self.pool, shared=shared and self.sharing)
            self.busy.append(channel)
        else:
            self.pool.checkin(channel, self.now)
        self.granted()

    @precondition(lambda self: self.busy)
    @rule(at=st.integers(0, 99), whole=st.booleans(), dropped=st.booleans())
    def request_ends(self, at, whole, dropped):
        channel = self.busy.pop(at % len(self.busy))
        if not whole:
            channel.retired = True
        if dropped:
            self.pool.dropped.append(channel)
            self.pool.settle_dropped(self.now)
            assert channel.retired, "an unread answer is on it"
        else:
            self.pool.checkin(channel, self.now)
        self.granted()

    @precondition(lambda self: self.waiting)
    @rule(at=st.integers(0, 99))
    def waiter_gives_up(self, at):
        self.pool.leave(self.waiting.pop(at % len(self.waiting)), self.now)
        self.granted()

    @precondition(lambda self: self.waiting and self.busy)
    @rule(whole=st.booleans())
    def waiter_is_granted_and_cancelled_at_once(self, whole):
        channel = self.busy.pop()
        channel.retired |= not whole
        self.pool.checkin(channel, self.now)
        for waiter in [one for one in self.waiting if one.turn is not None]:
            self.waiting.remove(waiter)
            self.pool.leave(waiter, self.now)
        self.granted()

    @precondition(lambda self: self.wires)
    @rule(at=st.integers(0, 99))
    def peer_closes(self, at):
        self.wires[at % len(self.wires)].dead = True

    @rule(seconds=st.sampled_from([0.1, 6.0, 60.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @invariant()
    def every_slot_is_accounted_for(self):
        kept = len(self.pool._idle) + len(self.pool._shared)
        alone = len([channel for channel in self.busy if not channel.shared])
        assert self.pool._open == kept + alone + len(self.dialling)
        assert self.pool._open <= self.limit
        assert len(self.pool._idle) <= 2

    @invariant()
    def open_wires_are_those_accounted_for(self):
        used = {id(channel.dialer) for channel in (*self.busy, *self.pool._idle, *self.pool._shared)}
        used |= {id(wire) for _, wire in self.dialling}
        assert {id(wire) for wire in self.wires if not wire.closed} == used

    @invariant()
    def nobody_waits_in_vain(self):
        if self.waiting:
            assert self.busy or self.dialling, "nothing will ever wake them"
            if not self.sharing:
                assert self.pool._open == self.limit
                assert not self.pool._idle

    def teardown(self):
        for channel in list(self.busy):
            self.busy.remove(channel)
            self.pool.checkin(channel, self.now)
            self.granted()
        while self.dialling or self.busy:
            if self.dialling:
                self._finish_dial()
            for channel in list(self.busy):
                self.busy.remove(channel)
                self.pool.checkin(channel, self.now)
                self.granted()
        assert not self.waiting
        self.pool.close()
        assert self.pool._open == 0
        assert all(wire.closed for wire in self.wires)

    def _finish_dial(self):
        channel, wire = self.dialling.pop(0)
        connect(channel, wire, self.pool)
        self.busy.append(channel)
        self.granted()


class SharedUse(Use):
    """The same where a connection may turn out to be HTTP/2."""

    sharing = True


TestUse = Use.TestCase
TestUse.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestSharedUse = SharedUse.TestCase
TestSharedUse.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_the_last_connection_given_back_is_the_first_to_be_used_again():
    """What is not needed grows old at the other end."""
    pool = pool_of()
    channels = []
    for _ in range(3):
        assert pool.checkout(0.0) is None
        assert pool.reserve(Waiter()) is Turn.SLOT
        channel, wire = channel_of(pool)
        connect(channel, wire, pool)
        channels.append(channel)
    for channel in channels:
        pool.checkin(channel, 0.0)
    assert [pool.checkout(0.0) for _ in range(3)] == channels[::-1]


def test_waiters_that_expected_a_shared_connection_open_their_own_up_to_the_limit():
    """The first dial brought HTTP/1.1: the others must not queue for that one connection."""
    pool = pool_of(connections=3, sharing=True)
    assert pool.reserve(Waiter()) is Turn.SLOT
    waiters = [Waiter() for _ in range(4)]
    assert [pool.reserve(waiter) for waiter in waiters] == [Turn.WAIT] * 4
    connect(*channel_of(pool), pool)
    assert [waiter.turn for waiter in waiters] == [Turn.SLOT, Turn.SLOT, None, None]
    assert pool._open == 3


def test_a_full_queue_refuses_and_changes_nothing():
    """max_waiting is a bound."""
    pool = pool_of(connections=1, waiting=1)
    pool.reserve(Waiter())
    assert pool.reserve(Waiter()) is Turn.WAIT
    before = repr(pool)
    with pytest.raises(PoolFull):
        pool.reserve(Waiter())
    assert repr(pool) == before


def test_a_closed_pool_keeps_nothing_that_comes_back():
    """The endpoint left: its last response closes its connection."""
    pool = pool_of()
    pool.reserve(Waiter())
    channel, wire = channel_of(pool)
    connect(channel, wire, pool)
    pool.close()
    assert not wire.closed
    pool.checkin(channel, 0.0)
    assert wire.closed
    assert pool._open == 0

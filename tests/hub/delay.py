# SPDX-License-Identifier: Apache-2.0
"""A longer way to an address: a TCP relay with a round trip time, and with the ways of a crowded origin.

In a process of its own, so that it has its own Python lock. What it does to a connection is what distance does:
opening takes a round trip, and a sender has at most a window of bytes under way, which begins at ten segments and
doubles with each round trip (TCP's slow start) up to what Linux lets a receiver take. Nothing is lost or reordered."""
import argparse
import heapq
import math
import os
import random
import selectors
import socket
import subprocess
import sys
import time
from collections import deque

FIRST_WINDOW = 10 * 1460
MOST_WINDOW = 4 << 20
PIECE = 256 << 10
ACTIVE = 0.5  # seconds without a byte, after which a connection no longer counts as busy


class DelayProxy:
    """with DelayProxy("127.0.0.1:8443", rtt=0.03) as proxy: … proxy.address

    rtt: seconds. rate: bytes per second from the target, all connections together. crowd: with more than so many
    busy connections the rate falls to `collapsed` of itself. stall_after: one connection, the first that has
    brought so many bytes, brings no more."""

    def __init__(self, target, rtt=0.0, rate=0, crowd=0, collapsed=0.1, stall_after=0):
        self.target = target.partition("://")[2] or target
        self._words = [f"--{name.replace('_', '-')}={value}" for name, value in
                       dict(rtt=rtt, rate=rate, crowd=crowd, collapsed=collapsed, stall_after=stall_after).items()]
        self._process = self.port = None

    def start(self):
        self._process = subprocess.Popen([sys.executable, "-I", "-S", __file__, self.target, *self._words],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self._process.stdout.readline())
        return self

    def stop(self):
        process, self._process = self._process, None
        if process:
            process.stdin.close()  # which it takes as its end, ours by force included
            process.stdout.close()
            process.wait(10)

    __enter__ = start

    def __exit__(self, *_):
        self.stop()

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"


class Pipe:
    """One direction of a connection. Bytes wait in `under_way` until they are due at the other end."""

    def __init__(self, relay, source, sink, opened, downward):
        self.relay, self.source, self.sink, self.downward = relay, source, sink, downward
        self.opened = opened
        self.under_way, self.acks = deque(), deque()
        self.flight, self.total, self.moved = 0, 0, 0.0
        self.window = FIRST_WINDOW if relay.rtt else MOST_WINDOW
        self.ended = self.blocked = self.held = self.stalled = False

    def wants(self):
        return not (self.ended or self.stalled or self.held) and self.flight < self.window

    def fill(self, now):
        allowed = min(PIECE, self.window - self.flight)
        if self.downward:
            self.moved = now
            allowed = self.relay.allowed(self, allowed)
        if allowed <= 0:
            return
        try:
            data = self.source.recv(allowed)
        except BlockingIOError:
            return
        if not data:
            self.ended = True
        self.flight += len(data)
        self.total += len(data)
        self.moved = now
        if self.downward:
            self.relay.took(self, len(data))
        due = max(now, self.opened + self.relay.rtt) + self.relay.rtt / 2
        self.under_way.append((due, memoryview(data)))
        self.relay.wake(due, self)

    def turn(self, now):
        """Hands over what is due, and hears what was received."""
        while self.under_way and self.under_way[0][0] <= now:
            due, data = self.under_way[0]
            if not data:
                self.under_way.popleft()
                self.sink.shutdown(socket.SHUT_WR)
                break
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                sent = 0
            self.blocked = sent < len(data)
            if sent:
                self.acks.append((now + self.relay.rtt / 2, sent))
                self.relay.wake(now + self.relay.rtt / 2, self)
            if self.blocked:
                self.under_way[0] = (due, data[sent:])
                break
            self.under_way.popleft()
        while self.acks and self.acks[0][0] <= now:
            count = self.acks.popleft()[1]
            self.flight -= count
            self.window = min(MOST_WINDOW, self.window + count)


class Relay:
    def __init__(self, options):
        host, _, port = options.target.rpartition(":")
        self.target, self.rtt = (host, int(port)), options.rtt
        self.rate, self.crowd, self.collapsed = options.rate, options.crowd, options.collapsed
        self.stall_after, self.stalled_one = options.stall_after, False
        self.tokens, self.filled = 0.0, time.monotonic()
        self.pipes = {}  # socket → (the pipe that it feeds, the pipe that feeds it)
        self.timers, self.serial = [], 0
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.listener.setblocking(False)

    # The crowded origin

    def allowed(self, pipe, wanted):
        if not self.rate:
            return wanted
        pipe.held = self.tokens < 1
        return min(wanted, int(self.tokens), 64 << 10)

    def took(self, pipe, count):
        self.tokens -= count
        if self.stall_after and not self.stalled_one and pipe.total >= self.stall_after:
            pipe.stalled = self.stalled_one = True

    def refill(self, now):
        rate = self.rate
        if self.crowd:
            downward = {feeds if feeds.downward else fed for feeds, fed in self.pipes.values()}
            if sum(pipe.moved > now - ACTIVE for pipe in downward) > self.crowd:
                rate *= self.collapsed
        self.tokens = min(self.tokens + rate * (now - self.filled), rate * 0.02)
        self.filled = now
        # In any order, and no more than there is for: else the first in line would take all of it each time.
        held = [(end, feeds) for end, (feeds, _) in self.pipes.items() if feeds.held]
        random.shuffle(held)
        for end, feeds in held[:math.ceil(self.tokens / (64 << 10))] if self.tokens >= 1 else ():
            feeds.held, feeds.moved = False, now
            self.watch(end)

    # The loop

    def wake(self, due, pipe):
        self.serial += 1
        heapq.heappush(self.timers, (due, self.serial, pipe))

    def watch(self, end):
        feeds, fed = self.pipes[end]
        mask = (selectors.EVENT_READ if feeds.wants() else 0) | (selectors.EVENT_WRITE if fed.blocked else 0)
        key = self.selector.get_map().get(end)
        if key is None:
            if mask:
                self.selector.register(end, mask)
        elif not mask:
            self.selector.unregister(end)
        elif key.events != mask:
            self.selector.modify(end, mask)

    def accept(self, now):
        near = self.listener.accept()[0]
        far = socket.create_connection(self.target)
        for end in (near, far):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        up, down = Pipe(self, near, far, now, False), Pipe(self, far, near, now, True)
        self.pipes[near], self.pipes[far] = (up, down), (down, up)
        self.watch(near)
        self.watch(far)

    def close(self, pipe):
        for end in (pipe.source, pipe.sink):
            if self.pipes.pop(end, None):
                if end in self.selector.get_map():
                    self.selector.unregister(end)
                end.close()

    def serve(self, pipe, act, now):
        if pipe.source not in self.pipes:
            return
        try:
            act(now)
        except OSError:
            return self.close(pipe)
        other = self.pipes[pipe.sink][0]
        if pipe.ended and other.ended and not (pipe.under_way or other.under_way):
            return self.close(pipe)
        self.watch(pipe.source)
        self.watch(pipe.sink)

    def run(self):
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        print(self.listener.getsockname()[1], flush=True)
        while True:
            now = time.monotonic()
            limit = 0.002 if self.rate and self.pipes else None
            if self.timers:
                limit = min(limit or 60, max(0, self.timers[0][0] - now))
            for key, mask in self.selector.select(limit):
                now = time.monotonic()
                if key.fileobj is sys.stdin:
                    return
                if key.fileobj is self.listener:
                    self.accept(now)
                elif key.fileobj in self.pipes:
                    feeds, fed = self.pipes[key.fileobj]
                    if mask & selectors.EVENT_WRITE:
                        self.serve(fed, fed.turn, now)
                    if mask & selectors.EVENT_READ:
                        self.serve(feeds, feeds.fill, now)
            now = time.monotonic()
            if self.rate:
                self.refill(now)
            while self.timers and self.timers[0][0] <= now:
                pipe = heapq.heappop(self.timers)[2]
                self.serve(pipe, pipe.turn, now)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("--rtt", type=float, default=0, help="seconds")
    parser.add_argument("--rate", type=float, default=0, help="bytes per second from the target, together")
    parser.add_argument("--crowd", type=int, default=0, help="busy connections, above which the rate falls")
    parser.add_argument("--collapsed", type=float, default=0.1, help="to this part of it")
    parser.add_argument("--stall-after", type=float, default=0, help="bytes, after which one connection stalls")
    try:
        Relay(parser.parse_args()).run()
    except KeyboardInterrupt:
        pass
    os._exit(0)  # without a word to the connections


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0
"""The hub's own tests: the longer way to it."""
import hashlib
import socket
import threading
import time

import pytest

from . import Hub, Random
from .delay import DelayProxy
from .probe import Probe

BIG = Random(3_000_000, seed=7)


class Server:
    """Answers each line with so many bytes; counts nothing, remembers nothing."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    @staticmethod
    def _answer(connection):
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    connection.sendall(bytes(int(line)))
        except OSError:
            pass

    def close(self):
        self._listener.close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


class Client:
    def __init__(self, proxy):
        self._socket = socket.create_connection(("127.0.0.1", proxy.port), timeout=20)

    def ask(self, size):
        """Seconds until all of it is here."""
        began = time.monotonic()
        self._socket.sendall(b"%d\n" % size)
        self.take(size)
        return time.monotonic() - began

    def take(self, size):
        while size:
            got = len(self._socket.recv(min(size, 1 << 20)))
            assert got, "the connection ended early"
            size -= got

    def close(self):
        self._socket.close()


def at_once(clients, size):
    """Bytes per second of all together, each asking for `size`."""
    threads = [threading.Thread(target=client.ask, args=(size,)) for client in clients]
    began = time.monotonic()
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return len(clients) * size / (time.monotonic() - began)


def test_a_question_costs_the_round_trip_and_the_first_one_two(server):
    with DelayProxy(server.address, rtt=0.1) as proxy:
        client = Client(proxy)
        assert 0.2 <= client.ask(100) < 0.4
        assert 0.1 <= client.ask(100) < 0.18
        client.close()


def test_a_window_that_doubles_with_each_round_trip(server):
    """14,600 bytes, 29,200, 58,400 …: 1 MB takes seven round trips on a new connection, and one on a warm one."""
    with DelayProxy(server.address, rtt=0.05) as proxy:
        client = Client(proxy)
        first, second = client.ask(1_000_000), client.ask(1_000_000)
        assert 0.35 <= first < 1 and 0.05 <= second < 0.3
        client.close()


def test_bytes_arrive_as_they_are_and_in_order():
    with Hub() as hub, DelayProxy(hub.origin_endpoint, rtt=0.01) as proxy:
        hub.add_repo("model", "a/b", {"big.bin": BIG})
        hub.settings.bytes_link = f"https://{proxy.address}"
        get = Probe(hub.endpoint, hub.ca_file)
        url = get("/a/b/resolve/main/big.bin").location
        assert url.startswith(f"https://{proxy.address}/")
        assert hashlib.sha256(get(url).body).hexdigest() == hub.repo("a/b").commit.files["big.bin"].etag


def test_a_rate_for_all_together(server):
    with DelayProxy(server.address, rate=20_000_000) as proxy:
        clients = [Client(proxy) for _ in range(4)]
        assert 12e6 < at_once(clients, 2_500_000) < 24e6
        for client in clients:
            client.close()


def test_too_many_get_less_and_fewer_get_all_again(server):
    with DelayProxy(server.address, rate=20_000_000, crowd=3, collapsed=0.1) as proxy:
        clients = [Client(proxy) for _ in range(6)]
        assert at_once(clients, 400_000) < 5e6
        time.sleep(0.6)
        assert at_once(clients[:3], 3_000_000) > 12e6
        for client in clients:
            client.close()


def test_one_connection_stalls_and_no_other(server):
    with DelayProxy(server.address, rate=100_000_000, stall_after=1_000_000) as proxy:
        first, second = Client(proxy), Client(proxy)
        first._socket.settimeout(1)
        with pytest.raises(TimeoutError):
            first.ask(3_000_000)
        assert second.ask(3_000_000) < 2
        first.close()
        second.close()


def test_an_end_at_either_side_is_an_end_at_the_other(server):
    with DelayProxy(server.address, rtt=0.01) as proxy:
        client = Client(proxy)
        client._socket.sendall(b"5\n")
        client._socket.shutdown(socket.SHUT_WR)
        client.take(5)
        assert client._socket.recv(1) == b""
        client.close()

# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that spoils what comes back: every so many bytes it draws lots. In a process of its own; counts what it did.

    with Toxics(hub._bytes.port, seed, kinds=("reset", "flip")) as toxics: … toxics.origin … toxics.counts()"""
import argparse
import asyncio
import contextlib
import json
import random
import socket
import struct
import subprocess
import sys
import threading

KINDS = ("latency", "bandwidth", "slicer", "slow_close", "timeout", "reset", "limit_data", "half_close", "refuse", "flip")


class Toxics:
    def __init__(self, port, seed, kinds, share=0.5):
        self._words = [str(port), str(seed), ",".join(kinds), str(share)]
        self._counts = {}

    def __enter__(self):
        self._process = subprocess.Popen([sys.executable, "-I", "-S", __file__, *self._words], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)
        self.origin = f"http://127.0.0.1:{int(self._process.stdout.readline())}"
        threading.Thread(target=self._hear, daemon=True).start()
        return self

    def _hear(self):
        for line in self._process.stdout:
            self._counts = json.loads(line)

    def counts(self):
        return dict(self._counts)

    def total(self):
        return sum(self._counts.values())

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.wait(10)


class Relay:
    def __init__(self, port, seed, kinds, share):
        self.port, self.turns, self.kinds, self.share = port, random.Random(seed), kinds, share
        self.counts = dict.fromkeys(kinds, 0)

    async def serve(self, reader, writer):
        far = None
        try:
            if self.draw(("refuse",), 0.02):
                return
            far_reader, far = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
            up = asyncio.create_task(self.pump(reader, far))
            try:
                await self.spoil(far_reader, writer)
            finally:
                up.cancel()
        except (OSError, asyncio.IncompleteReadError, EOFError):
            pass
        finally:
            for each in (far, writer):
                if each:
                    with contextlib.suppress(OSError):
                        each.close()

    @staticmethod
    async def pump(reader, writer):
        with contextlib.suppress(OSError, ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()

    def draw(self, kinds, share):
        usable = [each for each in kinds if each in self.kinds]
        if not usable or self.turns.random() >= share:
            return None
        kind = self.turns.choice(usable)
        self.counts[kind] += 1
        return kind

    async def spoil(self, reader, writer):
        left, kind = 0, None
        while data := await reader.read(65536):
            if left <= 0:
                left = self.turns.randrange(32 << 10, 512 << 10)
                # What ends connections is rarer, or nothing would ever come; wrong bits are the rarest.
                kind = self.draw(("flip",), self.share * 0.04) or self.draw(("slow_close", "timeout", "reset", "limit_data", "half_close"), self.share * 0.3) \
                    or self.draw(("latency", "bandwidth", "slicer"), self.share)
                if kind == "flip":
                    data = bytearray(data)
                    data[self.turns.randrange(len(data))] ^= 1 << self.turns.randrange(8)
            left -= len(data)
            if not await self.pass_on(kind, bytes(data), writer):
                return

    async def pass_on(self, kind, data, writer):
        """False: the connection is over."""
        if kind == "latency":
            await asyncio.sleep(self.turns.uniform(0.001, 0.05))
        elif kind == "bandwidth":
            await asyncio.sleep(len(data) / self.turns.uniform(1e6, 8e6))
        elif kind == "slicer":
            size = self.turns.randrange(50, 3000)
            for at in range(0, min(len(data), 16 * size), size):
                writer.write(data[at:min(at + size, 16 * size)])
                await writer.drain()
                await asyncio.sleep(0)
            data = data[16 * size:]
        elif kind in ("slow_close", "timeout", "limit_data", "half_close", "reset"):
            part = data[:self.turns.randrange(len(data) + 1)]
            if kind == "timeout":
                await asyncio.sleep(self.turns.uniform(0.2, 1.5))
                return False
            writer.write(part)
            await writer.drain()
            if kind == "reset":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            elif kind == "slow_close":
                await asyncio.sleep(self.turns.uniform(0.1, 1))
            elif kind == "half_close":
                writer.write_eof()
                await asyncio.sleep(self.turns.uniform(0.1, 1))
            return False
        if data:
            writer.write(data)
            await writer.drain()
        return True

    async def run(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=512, limit=1 << 20)
        print(server.sockets[0].getsockname()[1], flush=True)
        loop = asyncio.get_running_loop()
        over = loop.run_in_executor(None, sys.stdin.read)
        while not over.done():
            print(json.dumps(self.counts), flush=True)
            await asyncio.wait([over], timeout=0.25)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("seed", type=int)
    parser.add_argument("kinds", help=f"of {','.join(KINDS)}")
    parser.add_argument("share", type=float, help="of the stretches that are spoilt")
    options = parser.parse_args()
    relay = Relay(options.port, options.seed, options.kinds.split(","), options.share)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(relay.run())


if __name__ == "__main__":
    main()

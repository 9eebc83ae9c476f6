# SPDX-License-Identifier: Apache-2.0
"""Requests and answers, and how an answer's bytes may go wrong on their way."""
import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path

PIECE = 256 * 1024


class Headers:
    """Ordered, with names matched as HTTP does."""

    def __init__(self, pairs=()):
        self.pairs = list(pairs)

    def get(self, name, default=None):
        return next((v for k, v in self.pairs if k.lower() == name.lower()), default)

    def set(self, name, value):
        self.drop(name)
        self.pairs.append((name, str(value)))

    def add(self, name, value):
        self.pairs.append((name, str(value)))

    def drop(self, name):
        self.pairs = [(k, v) for k, v in self.pairs if k.lower() != name.lower()]

    def __contains__(self, name):
        return self.get(name) is not None


@dataclass
class Request:
    method: str
    target: str
    headers: Headers
    body: bytes = b""
    origin: str = ""  # scheme://host:port of the listener that heard it
    listener: str = "hub"


@dataclass
class Slice:
    """Bytes of a file on disk."""
    path: Path
    start: int
    length: int

    def pieces(self, size):
        with open(self.path, "rb", buffering=0) as file:
            file.seek(self.start)
            left = self.length
            while left > 0 and (piece := file.read(min(size, left))):
                left -= len(piece)
                yield piece


@dataclass
class Plan:
    """How the bytes of an answer go wrong on their way. Offsets are into the body; -1: before the answer."""
    stall_at: int | None = None
    stalled: object = None  # the Event that ends a stall
    reset_at: int | None = None
    cut_at: int | None = None
    rate: int | None = None
    corrupt_at: int | None = None
    no_length: bool = False

    def stall(self, at, released):
        self.stall_at, self.stalled = -1 if at is None else at, released


@dataclass
class Response:
    status: int = 200
    headers: Headers = field(default_factory=Headers)
    body: object = b""  # bytes or Slice
    plan: Plan = field(default_factory=Plan)

    @property
    def length(self):
        return self.body.length if isinstance(self.body, Slice) else len(self.body)

    def read(self):
        return b"".join(self.body.pieces(PIECE)) if isinstance(self.body, Slice) else self.body


def json_response(value, status=200):
    return Response(status, Headers([("Content-Type", "application/json; charset=utf-8")]),
                    json.dumps(value).encode())


def text_response(text, status=200, type="text/plain; charset=utf-8"):
    return Response(status, Headers([("Content-Type", type)]), text.encode())


def gzipped(response):
    body = gzip.compress(response.read(), 1)
    response.headers.set("Content-Encoding", "gzip")
    return Response(response.status, response.headers, body, response.plan)

# SPDX-License-Identifier: Apache-2.0
"""Every request, as it came and as it was answered."""
import hashlib
import json
import threading
import time
from fnmatch import fnmatch


class Entry:
    """One request. It is listed from its arrival on; `done` tells whether its answer has gone out."""

    def __init__(self, log, request, route):
        self._log = log
        self.time = time.time()
        self.method, self.path, self.kind = request.method, request.target, route.kind
        self.type, self.repo, self.revision, self.file = route.type, route.repo, route.revision, route.file
        self.listener = request.listener
        self.user_agent = request.headers.get("User-Agent", "")
        self.token = token_mark(request.headers.get("Authorization"))
        self.user = None
        self.range = request.headers.get("Range")
        self.accept_encoding = request.headers.get("Accept-Encoding")
        self.status = None
        self.bytes = 0
        self.seconds = None
        self.content = False  # the answer holds bytes of a file
        self.blob = None
        self.faults = []
        self.done = False

    def sent(self, count):
        self.bytes += count

    def finish(self):
        self.seconds = time.time() - self.time
        self.done = True
        self._log.finished(self)

    def as_dict(self):
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def __repr__(self):
        return f"<{self.method} {self.path} {self.status} {self.range or ''} {self.bytes}>"


def token_mark(authorization):
    """Tells tokens apart without keeping them."""
    if not authorization:
        return None
    return hashlib.sha256(authorization.split()[-1].encode()).hexdigest()[:12]


class RequestLog:
    def __init__(self, file=None):
        self._entries = []
        self._changed = threading.Condition()
        self._file = open(file, "a", buffering=1) if file else None

    def start(self, request, route):
        entry = Entry(self, request, route)
        with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()
        return entry

    def finished(self, entry):
        with self._changed:
            self._changed.notify_all()
        self.write(entry.as_dict())

    def write(self, record):
        if self._file:
            with self._changed:
                self._file.write(json.dumps(record) + "\n")

    def entries(self, **wanted):
        with self._changed:
            return [entry for entry in self._entries if matches(entry, wanted)]

    def wait(self, count, timeout, **wanted):
        deadline = time.monotonic() + timeout
        with self._changed:
            while True:
                found = [entry for entry in self._entries if matches(entry, wanted)]
                left = deadline - time.monotonic()
                if len(found) >= count:
                    return found
                if left <= 0:
                    raise TimeoutError(f"{len(found)} of {count} requests {wanted}")
                self._changed.wait(left)

    def clear(self):
        with self._changed:
            self._entries.clear()

    def close(self):
        if self._file:
            self._file.close()
            self._file = None


def matches(entry, wanted):
    """`path` is a pattern with *, everything else is compared."""
    for name, value in wanted.items():
        held = getattr(entry, name)
        if name in ("path", "user_agent"):
            if not fnmatch(held, value):
                return False
        elif isinstance(value, (set, tuple, list)):
            if held not in value:
                return False
        elif held != value:
            return False
    return True

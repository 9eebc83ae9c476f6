# SPDX-License-Identifier: Apache-2.0
"""Ways for answers to go wrong, switched on by kind and path, with a count.

A fault acts on the finished answer: it replaces it, edits its headers, or plans what happens to its
bytes. nginx's answers are out of reach: set `settings.bytes` to "hub" to spoil LFS content."""
import inspect
import threading
import time
from fnmatch import fnmatch

from .routes import API_KINDS
from .messages import Headers, Response, gzipped, text_response

PORTAL = "<!DOCTYPE html><html><head><title>Login</title></head><body>Please accept the terms.</body></html>"


def groups_of(call, response):
    """Every name under which a fault may ask for this request."""
    kind, method = call.route.kind, call.request.method
    names = {"any", kind}
    if kind in API_KINDS:
        names.add("api")
    if kind in ("resolve", "cache") and method == "HEAD":
        names.add("head")
    if call.entry.content:
        names.add("content")
    elif kind == "resolve" and 300 <= response.status < 400:
        names.add("redirect")
    if call.entry.blob and len(call.entry.blob) == 64:
        names.add("lfs")
    return names


class Fault:
    """One way to go wrong. `skip` requests pass first, then `count` are hit (None: all).

    `on`: a kind or group, or several. `path`: a pattern over the request target or the file's path."""

    def __init__(self, faults, name, on="any", path="*", method=None, token=None, count=None, skip=0, **options):
        if name not in ACTIONS:
            raise ValueError(f"no fault {name}; there are: {', '.join(sorted(ACTIONS))}")
        inspect.signature(ACTIONS[name]).bind(None, **options)
        self.name, self.path, self.method, self.token = name, path, method, token
        self.on = {on} if isinstance(on, str) else set(on)
        self.count, self.skip, self.options = count, skip, options
        self.hits = 0
        self.released = threading.Event()
        self._faults = faults

    def claims(self, call, groups):
        request = call.request
        if not self.on & groups or (self.method and self.method != request.method):
            return False
        if not fnmatch(request.target, self.path) and not fnmatch(call.route.file, self.path):
            return False
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.count is not None and self.hits >= self.count:
            return False
        self.hits += 1
        return True

    def remove(self):
        """Ends it; what it holds up goes on."""
        self._faults.remove(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()

    def as_dict(self):
        return {"name": self.name, "on": sorted(self.on), "path": self.path, "count": self.count,
                "hits": self.hits, "options": self.options}


class Faults:
    def __init__(self):
        self._faults = []
        self._lock = threading.Lock()

    def add(self, name, **options):
        fault = Fault(self, name, **options)
        with self._lock:
            self._faults.append(fault)
        return fault

    def remove(self, fault):
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)
        fault.released.set()

    def clear(self):
        for fault in list(self._faults):
            self.remove(fault)

    def list(self):
        return [fault.as_dict() for fault in self._faults]

    def apply(self, call, response, again):
        """`again()` answers the request once more as if it had asked for no range."""
        if not self._faults:
            return response
        groups = groups_of(call, response)
        with self._lock:
            hit = [fault for fault in self._faults if fault.claims(call, groups)]
        for fault in hit:
            call.entry.faults.append(fault.name)
            response = ACTIONS[fault.name](Strike(fault, call, response, again), **fault.options)
        return response


class Strike:
    def __init__(self, fault, call, response, again):
        self.fault, self.call, self.response, self.again = fault, call, response, again

    def replace(self, response):
        """Another answer, which keeps the delays planned so far."""
        response.plan = self.response.plan
        self.call.entry.content = False
        return response


# ---- in place of the answer


def status(strike, *, code, error_code=None, message="", headers=()):
    response = text_response(message, code)
    pairs = headers.items() if isinstance(headers, dict) else headers
    response.headers.pairs += [(key, str(value)) for key, value in pairs]
    if error_code:
        response.headers.add("X-Error-Code", error_code)
    if message:
        response.headers.add("X-Error-Message", message)
    return strike.replace(response)


def rate_limit(strike, *, seconds=5, resource="api", left=0, retry_after=None):
    """429 with RateLimit headers. `left` above 0 says that the named limit is not the cause."""
    response = text_response("Too Many Requests", 429)
    if seconds is not None:
        response.headers.add("RateLimit", f'"{resource}";r={left};t={seconds}')
        response.headers.add("RateLimit-Policy", f'"fixed window";"{resource}";q=500;w=300')
    if retry_after is not None:
        response.headers.add("Retry-After", retry_after)
    return strike.replace(response)


def html(strike, *, code=200):
    """A captive portal: a page, and no header of the Hub's."""
    return strike.replace(text_response(PORTAL, code, "text/html"))


def bad_json(strike, *, text='{"sha": "tru'):
    return strike.replace(text_response(text, 200, "application/json; charset=utf-8"))


def redirect(strike, *, location, code=308):
    """`location` may hold {path}: the target asked for. Any of the Hub's headers are gone."""
    location = location.replace("{path}", strike.call.request.target)
    return strike.replace(Response(code, Headers([("Location", location)])))


def redirect_loop(strike, *, code=307):
    return redirect(strike, location="{path}", code=code)


# ---- when, and whether


def delay(strike, *, seconds):
    time.sleep(seconds)
    return strike.response


def stall(strike, *, at=None):
    """Silence, before the answer or after `at` bytes of its body, until the fault is removed."""
    strike.response.plan.stall(at, strike.fault.released)
    return strike.response


def reset(strike, *, at=None):
    """A TCP reset, in place of the answer or after `at` bytes of its body."""
    strike.response.plan.reset_at = -1 if at is None else at
    return strike.response


def short(strike, *, at=None, keep=0.5):
    """The connection ends in the middle of the body: after `at` bytes, else after a part of it."""
    strike.response.plan.cut_at = int(strike.response.length * keep) if at is None else at
    return strike.response


def drip(strike, *, rate=1000):
    """The body at `rate` bytes a second."""
    strike.response.plan.rate = rate
    return strike.response


# ---- what


def corrupt(strike, *, at=0):
    """The right number of bytes, one of them wrong."""
    strike.response.plan.corrupt_at = at
    return strike.response


def ignore_range(strike):
    return strike.again()


def wrong_content_range(strike, *, shift=1, total=0):
    """Content-Range that starts `shift` bytes off and tells a size `total` bytes off; the bytes are right."""
    value = strike.response.headers.get("Content-Range")
    if value and "-" in value:
        span, size = value.removeprefix("bytes ").split("/")
        start, end = map(int, span.split("-"))
        strike.response.headers.set("Content-Range", f"bytes {start + shift}-{end + shift}/{int(size) + total}")
    return strike.response


def gzip(strike):
    """The body compressed though nobody asked for that."""
    return gzipped(strike.response)


def wrong_etag(strike, *, etag="0" * 64):
    for name in ("ETag", "X-Linked-Etag"):
        if name in strike.response.headers:
            strike.response.headers.set(name, f'"{etag}"')
    return strike.response


def no_length(strike):
    """No Content-Length: only the end of the connection ends the body."""
    strike.response.plan.no_length = True
    return strike.response


def headers(strike, *, put=None, drop=()):
    for name in drop:
        strike.response.headers.drop(name)
    for name, value in (put or {}).items():
        strike.response.headers.set(name, value)
    return strike.response


ACTIONS = {each.__name__: each for each in (
    status, rate_limit, html, bad_json, redirect, redirect_loop, delay, stall, reset, short, drip, corrupt,
    ignore_range, wrong_content_range, gzip, wrong_etag, no_length, headers)}

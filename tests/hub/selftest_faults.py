# SPDX-License-Identifier: Apache-2.0
"""The hub's own tests: limits, faults and outages."""
import gzip
import http.client
import json
import re
import threading
import time

import pytest

from . import Hub, Random
from .probe import Probe

BIG = Random(3_000_000, seed=7)


@pytest.fixture
def hub():
    with Hub(nginx=False) as hub:
        hub.add_repo("model", "a/b", {"config.json": "{}", "big.bin": BIG})
        yield hub


@pytest.fixture
def get(hub):
    return Probe(hub.endpoint)


def big_url(get):
    return get("/a/b/resolve/main/big.bin").location


# ---- limits


def test_rate_limit(hub, get):
    told = get("/api/models/a/b").headers
    assert re.fullmatch(r'"api";r=\d+;t=\d+', told["RateLimit"])
    hub.add_user("bob")
    hub.limits.set(api=3, resolve=1, window=3600, token_api=5)
    left = [re.search(r"r=(\d+)", get("/api/models/a/b").headers["RateLimit"])[1] for _ in range(3)]
    assert left == ["2", "1", "0"]
    answer = get("/api/models/a/b")
    assert answer.status == 429 and answer.headers["RateLimit"].startswith('"api";r=0;t=')
    assert answer.headers["RateLimit-Policy"] == '"fixed window";"api";q=3;w=3600'
    assert get("/api/models/a/b", token="hf_bob").status == 200
    small = get("/a/b/resolve/main/config.json")
    assert small.status == 307 and get(small.location).status == 200
    assert get("/a/b/resolve/main/config.json").headers["RateLimit"].startswith('"resolvers";r=0')
    hub.limits.clear()
    assert get("/api/models/a/b").status == 200


def test_the_window_ends(hub, get):
    hub.limits.set(api=1, window=1)
    while get("/api/models/a/b").status == 200:
        pass
    time.sleep(1.05)
    assert get("/api/models/a/b").status == 200


# ---- faults


def test_status_and_count(hub, get):
    fault = hub.faults.add("status", code=503, on="api", count=2, skip=1)
    assert [get("/api/models/a/b").status for _ in range(4)] == [200, 503, 503, 200]
    assert fault.hits == 2
    with hub.faults.add("status", code=404, error_code="EntryNotFound", on="head", path="config.json"):
        assert get("/a/b/resolve/main/config.json", "HEAD").code == "EntryNotFound"
        assert get("/a/b/resolve/main/config.json").status == 307
    assert get("/a/b/resolve/main/config.json", "HEAD").status == 307
    with pytest.raises(ValueError):
        hub.faults.add("no such")
    with pytest.raises(TypeError):
        hub.faults.add("status", cod=1)


def test_answers_of_others(hub, get):
    with hub.faults.add("rate_limit", seconds=7, on="tree"):
        assert get("/api/models/a/b/tree/main").headers["RateLimit"] == '"api";r=0;t=7'
        assert get("/api/models/a/b").status == 200
    with hub.faults.add("html"):
        answer = get("/api/models/a/b")
        assert answer.status == 200 and b"<html>" in answer.body and "X-Request-Id" not in answer.headers
    with hub.faults.add("bad_json", on="api"), pytest.raises(json.JSONDecodeError):
        get("/api/models/a/b").json
    with hub.faults.add("redirect_loop", on="resolve"):
        answer = get("/a/b/resolve/main/config.json")
        assert answer.status == 307 and answer.location == answer.url
    with hub.faults.add("redirect", location="https://huggingface.co{path}"):
        assert get("/a/b/resolve/main/x?y=1").location == "https://huggingface.co/a/b/resolve/main/x?y=1"


@pytest.mark.parametrize("place", ["hub", "direct"])
def test_spoilt_content(hub, get, place):
    hub.settings.bytes = place
    url = big_url(get) if place == "hub" else "/a/b/resolve/main/big.bin"
    whole = BIG.read(0, BIG.size)
    with hub.faults.add("short", on="content", at=1_000_001), pytest.raises(http.client.IncompleteRead) as caught:
        get(url)
    assert caught.value.partial == whole[:1_000_001]
    with hub.faults.add("reset", on="content", at=0), pytest.raises(ConnectionResetError):
        get(url)
    with hub.faults.add("corrupt", on="content", at=2_000_000):
        body = get(url).body
        assert len(body) == BIG.size and [i for i in range(BIG.size) if body[i] != whole[i]] == [2_000_000]
    with hub.faults.add("ignore_range", on="content"):
        answer = get(url, Range="bytes=5-9")
        assert answer.status == 200 and answer.body == whole
    with hub.faults.add("wrong_content_range", on="content", shift=3, total=-1):
        answer = get(url, Range="bytes=5-9")
        assert answer.headers["Content-Range"] == f"bytes 8-12/{BIG.size - 1}" and answer.body == whole[5:10]
    with hub.faults.add("gzip", on="content"):
        answer = get(url, Range="bytes=5-9")
        assert answer.headers["Content-Encoding"] == "gzip" and gzip.decompress(answer.body) == whole[5:10]
    with hub.faults.add("no_length", on="content"):
        answer = get(url)
        assert "Content-Length" not in answer.headers and answer.body == whole
    assert get(url).body == whole


def test_metadata_spoilt(hub, get):
    with hub.faults.add("wrong_etag", on="head", etag="f" * 64):
        assert get("/a/b/resolve/main/big.bin", "HEAD").headers["X-Linked-Etag"] == f'"{"f" * 64}"'
    with hub.faults.add("headers", drop=["X-Repo-Commit"], put={"X-HF-Warning": "topic; text"}):
        answer = get("/a/b/resolve/main/big.bin", "HEAD")
        assert "X-Repo-Commit" not in answer.headers and answer.headers["X-HF-Warning"] == "topic; text"
    with hub.faults.add("reset", on="api"), pytest.raises((ConnectionResetError, http.client.RemoteDisconnected)):
        get("/api/models/a/b")


def test_slow(hub, get):
    began = time.monotonic()
    with hub.faults.add("delay", seconds=0.2):
        get("/api/models/a/b")
    assert time.monotonic() - began >= 0.2
    began = time.monotonic()
    with hub.faults.add("drip", on="content", rate=50_000):
        assert get(big_url(get), Range="bytes=0-9999").body == BIG.read(0, 10_000)
    assert time.monotonic() - began >= 0.18


@pytest.mark.parametrize("at", [None, 0, 1234, 2_999_999])
def test_stall_until_removed(hub, get, at):
    """What a fault holds up is listed meanwhile, and goes on when the fault ends."""
    fault = hub.faults.add("stall", on="content", **({} if at is None else {"at": at}))
    url, answers = big_url(get), []
    reader = threading.Thread(target=lambda: answers.append(get(url)))
    reader.start()
    entry, = hub.wait_request(kind="bytes")
    reader.join(0.2)
    assert reader.is_alive() and not entry.done and entry.bytes == (at or 0)
    fault.remove()
    reader.join(5)
    assert answers[0].body == BIG.read(0, BIG.size)


def test_stall_ends_when_the_client_leaves(hub, get):
    hub.faults.add("stall", on="api")
    get.timeout = 0.2
    with pytest.raises(TimeoutError):
        get("/api/models/a/b")
    deadline = time.monotonic() + 5
    while not hub.requests(kind="info")[0].done and time.monotonic() < deadline:
        time.sleep(0.01)
    assert hub.requests(kind="info")[0].done


# ---- outages


def test_down_and_up(hub, get):
    kept = http.client.HTTPConnection("127.0.0.1", int(hub.endpoint.rsplit(":")[-1]), timeout=5)
    kept.request("GET", "/api/models/a/b")
    kept.getresponse().read()
    url = big_url(get)
    hub.down()
    with pytest.raises(ConnectionRefusedError):
        get("/api/models/a/b")
    with pytest.raises((OSError, http.client.HTTPException)):
        kept.request("GET", "/api/models/a/b")
        kept.getresponse()
    assert get(url, Range="bytes=0-9").status == 206
    assert Probe(hub.control_endpoint)("/_test/counters").status == 200
    hub.up()
    assert get("/api/models/a/b").status == 200
    hub.down(origin=True)
    with pytest.raises(ConnectionRefusedError):
        get(url)
    hub.up()
    assert get(url, Range="bytes=0-9").status == 206

# SPDX-License-Identifier: Apache-2.0
"""The hub's own tests: nginx, the log, the control API, the folder, the models and the tool."""
import hashlib
import http.client
import json
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from . import File, Hub, Random, Sparse, models
from .probe import Probe

BIG = Random(3_000_000, seed=7)
TOOL = Path(__file__).resolve().parents[2] / "scripts" / "test-hub"


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


# ---- nginx


@pytest.fixture
def real():
    with Hub() as hub:
        hub.add_repo("model", "a/b", {"config.json": "{}", "big.bin": BIG})
        yield hub, Probe(hub.endpoint, hub.ca_file)


def test_a_file_too_large_to_hash_has_the_hash_that_it_is_said_to_have(real, tmp_path):
    hub, get = real
    path = tmp_path / "huge"
    with open(path, "wb") as out:
        out.truncate(100 << 30)
    hub.add_repo("model", "a/huge", {"huge.bin": File(path, lfs=True, sha256="5a" * 32)})
    blob = hub.repo("a/huge").commit.files["huge.bin"]
    assert (blob.etag, blob.size) == ("5a" * 32, 100 << 30)
    assert get(get("/a/huge/resolve/main/huge.bin").location, Range="bytes=99999999990-99999999999").status == 206


def test_signed_urls_end(real):
    hub, get = real
    hub.settings.url_ttl = 1
    short = big_url(get)
    assert get(short, Range="bytes=0-9").status == 206
    deadline = time.monotonic() + 5
    while get(short, Range="bytes=0-9").status == 206 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert get(short, Range="bytes=0-9").status == 403
    hub.settings.url_ttl = 3600
    url = big_url(get)
    assert get(re.sub(r"Expires=\d+", "Expires=9999999999", url)).status == 403
    assert get(url.partition("?")[0]).status == 403
    assert get(url, Range="bytes=0-9").status == 206
    hub.expire_urls()
    assert get(url).status == 403
    assert get(big_url(get), Range="bytes=0-9").status == 206


def test_only_our_authority_vouches_for_nginx(real):
    hub, get = real
    with pytest.raises(ssl.SSLCertVerificationError):
        stranger = Probe(hub.endpoint)
        stranger._context = ssl.create_default_context()
        stranger(big_url(get))


def test_nginx_log_counts_at_once(real):
    hub, get = real
    url = big_url(get)
    for number in range(1, 30):
        get(url, Range=f"bytes={number}-{number + 99}")
        assert len(hub.origin_requests()) == number
    assert {each.blob for each in hub.content_requests()} == {hub.repo("a/b").commit.files["big.bin"].etag}
    last = hub.origin_requests()[-1]
    assert (last.range, last.bytes, last.status, last.token) == ("bytes=29-128", 100, 206, None)
    get(url, Range="bytes=0-9", token="hf_leak")
    assert hub.origin_requests()[-1].token
    counts = hub.counters()
    assert (counts["origin"], counts["origin_bytes"], counts["redirect"]) == (30, 2910, 1)
    hub.clear_log()
    assert hub.origin_requests() == [] and hub.requests() == []


def test_nginx_rate_and_return(real):
    hub, get = real
    hub.set_origin_rate(500_000)
    began = time.monotonic()
    get(big_url(get), Range="bytes=0-1499999")
    assert time.monotonic() - began > 1
    hub.set_origin_rate(0)
    url = big_url(get)
    hub.origin_down()
    with pytest.raises(ConnectionRefusedError):
        get(url)
    hub.origin_up()
    assert get(url).body == BIG.read(0, BIG.size)


def test_nothing_is_left():
    with Hub() as hub:
        hub.add_repo("model", "a/b", {"big.bin": BIG})
        root, pid = hub._root, hub.nginx._pid
        assert root.exists() and Path(f"/proc/{pid}").exists()
    assert not root.exists() and not Path(f"/proc/{pid}").exists()


def test_nothing_is_left_by_a_killed_hub():
    code = ("import sys; sys.path.insert(0, sys.argv[1])\nfrom hub import Hub\n"
            "with Hub() as hub:\n print(hub._root, hub.nginx._pid, flush=True)\n sys.stdin.read()")
    child = subprocess.Popen([sys.executable, "-B", "-c", code, str(Path(__file__).resolve().parents[1])],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    root, pid = child.stdout.readline().split()
    assert Path(f"/proc/{pid}").exists()
    child.kill()
    child.communicate()
    deadline = time.monotonic() + 5
    while (Path(root).exists() or Path(f"/proc/{pid}").exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not Path(root).exists() and not Path(f"/proc/{pid}").exists()


def test_sparse_content():
    content = Sparse(200 << 20, seed=3)
    with Hub() as hub:
        blob = hub.add_repo("model", "a/b", {"big.bin": content}).commit.files["big.bin"]
        assert blob.path.stat().st_blocks * 512 < 1 << 20
        get = Probe(hub.endpoint, hub.ca_file)
        for at in (0, 16 << 20, (16 << 20) - 5, (200 << 20) - 50):
            answer = get(big_url(get), Range=f"bytes={at}-{at + 49}")
            assert answer.body == content.read(at, 50) and len(answer.body) == 50
            assert any(answer.body)


def test_hashes_are_kept(tmp_path, monkeypatch):
    def etag():
        with Hub(nginx=False, cache=tmp_path) as hub:
            return hub.add_repo("model", "a/b", {"x.bin": Sparse(1 << 20)}).commit.files["x.bin"].etag
    first = etag()
    assert first == hashlib.sha256(Sparse(1 << 20).read(0, 1 << 20)).hexdigest()
    monkeypatch.setattr("hub.content.sha256_of", lambda path: pytest.fail("hashed again"))
    assert etag() == first


# ---- log and control


def test_log(hub, get, tmp_path):
    hub.add_user("bob")
    get("/api/models/a/b", token="hf_bob", User_Agent="probe/1")
    entry, = hub.requests(user_agent="probe/*")
    assert (entry.kind, entry.user, entry.status, entry.repo) == ("info", "bob", 200, "a/b")
    assert entry.token and "hf_bob" not in json.dumps(entry.as_dict())
    get.fetch("/a/b/resolve/main/config.json", Range="bytes=0-0")
    content, = hub.content_requests()
    assert (content.range, content.bytes, content.listener) == ("bytes=0-0", 1, "hub")
    assert hub.counters() == {"api": 1, "head": 0, "redirect": 1, "content": 1, "content_bytes": 1, "origin": 0,
                              "origin_bytes": 0, "other": 0, "total": 3}


def test_log_file(tmp_path):
    with Hub(log_file=tmp_path / "log") as hub:
        hub.add_repo("model", "a/b", {"big.bin": BIG})
        get = Probe(hub.endpoint, hub.ca_file)
        get(big_url(get))
        get(big_url(get), Range="bytes=0-9")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [(each["kind"], each["status"]) for each in lines if each["kind"] == "origin"] == \
        [("origin", 200), ("origin", 206)]
    assert sum(each["kind"] == "resolve" for each in lines) == 2


def test_control(hub):
    control = Probe(hub.control_endpoint)

    def post(what, **body):
        answer = control(f"/_test/{what}", "POST", body=json.dumps(body))
        return answer.json if answer.status == 200 else answer.status
    get = Probe(hub.endpoint)
    made = post("repos/add", type="dataset", id="c/d", files={"a": "1", "b.bin": {"random": 50_000, "seed": 2}})
    assert get("/api/datasets/c/d").json["sha"] == made["commit"]
    pushed = post("repos/push", repo="datasets/c/d", files={"a": "2"})
    assert control("/_test/repo?repo=datasets/c/d").json["branch"] == {"main": pushed["commit"]}
    assert post("repos/add-pr", repo="datasets/c/d", files={"p": "1"})["number"] == 1
    post("repos/set-gated", repo="datasets/c/d", gated="auto", granted=[])
    assert get("/datasets/c/d/resolve/main/a").code == "GatedRepo"
    post("settings", page_size=1)
    assert "Link" in get("/api/datasets/c/d/tree/main").headers
    assert post("settings", no_such=1) == 400 and post("no-such") == 404 and post("faults", name="x") == 400
    post("faults", name="status", code=500, on="info", count=1)
    assert [get("/api/models/a/b").status for _ in range(2)] == [500, 200]
    assert control("/_test/faults").json[0]["hits"] == 1
    assert [each["status"] for each in control("/_test/log?kind=info&repo=a/b").json["hub"]] == [500, 200]
    post("log/clear")
    assert control("/_test/counters").json["total"] == 0
    get("/_test/down", "POST", body=json.dumps({"seconds": 0.4}))
    time.sleep(0.2)
    with pytest.raises(ConnectionRefusedError):
        get("/api/models/a/b")
    time.sleep(0.5)
    assert get("/api/models/a/b").status == 200


def test_many_requests_on_many_connections(hub):
    port = int(hub.endpoint.rsplit(":")[-1])
    wrong = []

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        for _ in range(100):
            connection.request("GET", "/api/models/a/b/tree/main")
            response = connection.getresponse()
            if response.status != 200 or len(json.loads(response.read())) != 2:
                wrong.append(response.status)
        connection.close()
    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and hub.counters()["api"] == 2000


def test_the_hub_over_tls():
    with Hub(tls=True) as hub:
        hub.add_repo("model", "a/b", {"config.json": "{}", "big.bin": BIG})
        get = Probe(hub.endpoint, hub.ca_file)
        assert hub.endpoint.startswith("https://") and get.fetch("/a/b/resolve/main/config.json").body == b"{}"
        hub.settings.bytes = "direct"
        assert get("/a/b/resolve/main/big.bin").body == BIG.read(0, BIG.size)


# ---- folder, models, tool


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def test_folder(tmp_path):
    write(tmp_path, {
        "hub.json": {"tokens": {"hf_al": {"name": "alice", "orgs": ["acme"]}}},
        "models/acme/plain/config.json": "{}", "models/acme/plain/sub/x": "1", "models/solo/config.json": "{}",
        "datasets/acme/rows/a.csv": "1", "models/acme/gone/hub.json": {"renamed_to": "acme/plain"},
        "models/acme/many/c1/x": "1", "models/acme/many/c2/x": "2", "models/acme/many/c3/x": "3",
        "models/acme/many/hub.json": {"commits": ["c1", "c2", {"dir": "c3", "parent": "c1"}],
                                      "branches": {"main": "c2"}, "tags": {"v1": "c1"},
                                      "pull_requests": {"4": "c3"}, "private": True, "lfs": {"x": True}}})
    with Hub(tmp_path, nginx=False) as hub:
        get = Probe(hub.endpoint)
        assert {repo.id for repo in hub.repos.all()} == {"acme/plain", "solo", "acme/rows", "acme/many"}
        assert get("/api/models/acme/gone").headers["Location"] == "/api/models/acme/plain"
        assert get("/api/models/acme/many").status == 401
        for revision, text in (("main", b"2"), ("v1", b"1"), ("refs%2Fpr%2F4", b"3")):
            url = get(f"/acme/many/resolve/{revision}/x", token="hf_al").location
            assert get(url).body == text
        before = hub.repo("acme/plain").head
        hub.reload()
        assert hub.repo("acme/plain").head == before
        (tmp_path / "models/acme/plain/sub/x").unlink()
        (tmp_path / "models/acme/plain/y").write_text("2")
        hub.reload()
        assert [each["path"] for each in get("/api/models/acme/plain/tree/main").json] == ["config.json", "y"]


def test_models_are_whole():
    for files in (models.bert(600, 32, 1, 2), models.t5_encoder(), models.t5_encoder(sharded=True)):
        weights = {}
        for name, data in files.items():
            if name.endswith(".safetensors"):
                size = int.from_bytes(data[:8], "little")
                header = json.loads(data[8:8 + size])
                assert header.pop("__metadata__") == {"format": "pt"}
                assert max(each["data_offsets"][1] for each in header.values()) == len(data) - 8 - size
                weights |= dict.fromkeys(header, name)
        if "model.safetensors.index.json" in files:
            assert json.loads(files["model.safetensors.index.json"])["weight_map"] == weights
        assert json.loads(files["tokenizer.json"])["model"]["vocab"]
    assert models.bert(600, 32, 1, 2) == models.bert(600, 32, 1, 2)


def test_tool(tmp_path):
    log = tmp_path / "log"
    tool = subprocess.Popen([TOOL, tmp_path / "d", "--demo", "--log", log, "--rate-limit", "2,100,3600",
                             "--set", "page_size=5"], stdout=subprocess.PIPE, text=True)
    try:
        told = ""
        while "Ctrl-C" not in told:
            line = tool.stdout.readline()
            assert line, told
            told += line
        get = Probe(re.search(r"HF_ENDPOINT=(\S+)", told)[1], re.search(r"SSL_CERT_FILE=(\S+)", told)[1])
        assert "Link" in get("/api/models/demo/bert/tree/main").headers
        shard = "/demo/bert/resolve/main/model-00001-of-00002.safetensors"
        assert get.fetch(shard, Range="bytes=0-7").status == 206
        assert [get("/api/models/demo/bert").status for _ in range(2)] == [200, 429]
    finally:
        tool.send_signal(signal.SIGINT)
        tool.communicate(timeout=10)
    assert tool.returncode == 0
    assert [json.loads(line)["kind"] for line in log.read_text().splitlines()].count("origin") == 1

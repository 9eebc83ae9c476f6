# SPDX-License-Identifier: Apache-2.0
"""The hub's own tests: what it says of repositories, files and refusals."""
import hashlib
import json
import re
import subprocess
from urllib.parse import quote, urlencode

import pytest

from . import File, Hub, Random
from .content import pointer_text
from .probe import Probe

BIG = Random(3_000_000, seed=7)
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def hub():
    with Hub() as hub:
        hub.add_user("bob")
        hub.add_user("carol", orgs=["lab"])
        hub.add_repo("model", "acme/tiny", {"config.json": "{}", "model.safetensors": BIG, "a dir/b#c%.txt": "odd",
                                            "empty.txt": "", "xet.bin": File(b"x" * 99, xet_hash="ab" * 32)})
        hub.add_tag("acme/tiny", "v1")
        hub.add_pr("acme/tiny", {"pr.txt": "pr"})
        hub.push("acme/tiny", {"config.json": '{"a": 1}'})
        hub.add_repo("model", "bare", {"x": "1"})
        hub.add_repo("dataset", "acme/rows", {f"part/{n:02}.csv": str(n) for n in range(11)})
        hub.add_repo("model", "lab/secret", {"x": "1"}, private=True)
        hub.add_repo("model", "lab/gated", {"x": "1"}, gated="manual", granted=["bob"])
        hub.add_repo("model", "lab/closed", {"x": "1"}, disabled=True)
        hub.add_repo("model", "lab/former", {"x": "1"})
        hub.rename("lab/former", "lab/present")
        yield hub


@pytest.fixture
def get(hub):
    return Probe(hub.endpoint, hub.ca_file)


def blob(hub, path, repo="acme/tiny"):
    return hub.repo(repo).commit.files[path]


# ---- repositories


def test_info(hub, get):
    answer = get("/api/models/acme/tiny").json
    assert answer["id"] == "acme/tiny" and answer["sha"] == hub.repo("acme/tiny").head
    assert (answer["private"], answer["gated"], answer["disabled"]) == (False, False, False)
    assert {"rfilename": "config.json"} in answer["siblings"]
    detailed = get("/api/models/acme/tiny/revision/v1?blobs=true").json
    assert detailed["sha"] != answer["sha"]
    lfs = next(each for each in detailed["siblings"] if each["rfilename"] == "model.safetensors")
    digest = hashlib.sha256(BIG.read(0, BIG.size)).hexdigest()
    assert lfs["size"] == BIG.size
    assert lfs["lfs"] == {"sha256": digest, "size": BIG.size, "pointerSize": len(pointer_text(digest, BIG.size))}
    assert get("/api/models/acme/tiny?expand=sha&expand=private").json.keys() == {"_id", "id", "sha", "private"}
    assert get("/api/models/bare").json["id"] == "bare"
    assert get("/api/models/bare/revision/main").json["sha"] == hub.repo("bare").head


def test_revisions(hub, get):
    repo = hub.repo("acme/tiny")
    pull = repo.pull_requests["1"].id
    for revision, sha in (("main", repo.head), (repo.head, repo.head), (repo.head[:7], repo.head),
                          ("refs/pr/1", pull), ("refs%2Fpr%2F1", pull), ("v1", repo.tags["v1"].id)):
        assert get(f"/api/models/acme/tiny/revision/{revision}").json["sha"] == sha
    answer = get("/api/models/acme/tiny/revision/nope")
    assert (answer.status, answer.code) == (404, "RevisionNotFound")


def test_commit_ids_are_those_of_git(tmp_path):
    """The tree of a commit is what git itself would call it."""
    from .repos import _tree_id
    with Hub(nginx=False) as hub:
        files = {"a.txt": "1", "a/b": "2", "a/c/d": "3", "a-b": "4"}
        blobs = hub.add_repo("model", "x/y", files).commit.files
        assert hub.add_repo("model", "x/z", files).head != hub.repo("x/y").head
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        if name == "a.txt":
            continue

    def git(*words):
        return subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True, text=True).stdout
    git("init", "-q")
    git("add", "-A")
    assert _tree_id(hashlib.sha1, "", blobs, {}) == git("write-tree").strip()


def test_refs(hub, get):
    answer = get("/api/models/acme/tiny/refs").json
    assert answer.keys() == {"branches", "converts", "tags"}
    assert answer["branches"] == [{"name": "main", "ref": "refs/heads/main",
                                   "targetCommit": hub.repo("acme/tiny").head}]
    answer = get("/api/models/acme/tiny/refs?include_prs=1").json
    assert answer["pullRequests"][0]["ref"] == "refs/pr/1"


def test_push_and_force_push(get):
    with Hub(nginx=False) as hub:
        get = Probe(hub.endpoint)
        first = hub.add_repo("model", "a/b", {"x": "1", "y": "1"}).head
        second = hub.push("a/b", {"x": "2"}, delete=["y"])
        assert get("/api/models/a/b").json["sha"] == second != first
        assert [each["path"] for each in get(f"/api/models/a/b/tree/{second}").json] == ["x"]
        assert get.fetch(f"/a/b/resolve/{first}/x").body == b"1"
        third = hub.force_push("a/b", {"z": "3"}, drop_old=True)
        assert get("/api/models/a/b/revision/main").json["sha"] == third
        assert get(f"/api/models/a/b/revision/{first}").code == "RevisionNotFound"
        hub.delete_repo("a/b")
        assert get("/api/models/a/b").code == "RepoNotFound"


def test_whoami(hub, get):
    assert get("/api/whoami-v2").status == 401
    answer = get("/api/whoami-v2", token="hf_carol").json
    assert (answer["type"], answer["name"], answer["orgs"][0]["name"]) == ("user", "carol", "lab")
    assert answer["auth"]["accessToken"]["role"] == "read"


# ---- trees


def tree(get, target):
    """All pages: (entries, number of pages)."""
    found, pages, following = [], 0, target
    while following:
        answer = get(following)
        assert answer.status == 200
        found += answer.json
        pages += 1
        link = re.fullmatch(r'<(.+)>; rel="next"', answer.headers.get("Link", ""))
        following = link and link[1]
    return found, pages


def test_tree(hub, get):
    entries, pages = tree(get, "/api/models/acme/tiny/tree/main?recursive=true&expand=false")
    by_path = {each["path"]: each for each in entries}
    assert pages == 1 and by_path.keys() == {*hub.repo("acme/tiny").commit.files, "a dir"}
    assert by_path["a dir"]["type"] == "directory" and by_path["a dir"]["size"] == 0
    held = by_path["model.safetensors"]
    assert held["lfs"]["oid"] == blob(hub, "model.safetensors").sha256 and held["size"] == BIG.size
    assert held["oid"] == blob(hub, "model.safetensors").oid != held["lfs"]["oid"]
    assert by_path["config.json"]["oid"] == hashlib.sha1(b'blob 8\0{"a": 1}').hexdigest()
    assert by_path["xet.bin"]["xetHash"] == "ab" * 32
    flat, _ = tree(get, "/api/models/acme/tiny/tree/main")
    assert "a dir" in [each["path"] for each in flat] and "a dir/b#c%.txt" not in [each["path"] for each in flat]
    for folder in ("a%20dir", "a%20dir/"):
        assert [each["path"] for each in get(f"/api/models/acme/tiny/tree/main/{folder}").json] == ["a dir/b#c%.txt"]
    answer = get("/api/models/acme/tiny/tree/main/nope")
    assert (answer.status, answer.code) == (404, "EntryNotFound")
    assert answer.headers["X-Repo-Commit"] == hub.repo("acme/tiny").head


def test_expanded_tree_tells_last_commits(hub, get):
    entries, _ = tree(get, "/api/models/acme/tiny/tree/main?expand=true")
    last = {each["path"]: each["lastCommit"]["id"] for each in entries}
    assert last["config.json"] == hub.repo("acme/tiny").head
    assert last["model.safetensors"] == last["a dir"] == hub.repo("acme/tiny").tags["v1"].id
    assert all(each["securityFileStatus"]["status"] == "safe" for each in entries if each["type"] == "file")


def test_pages(hub, get):
    whole, _ = tree(get, "/api/datasets/acme/rows/tree/main?recursive=true")
    assert len(whole) == 12
    assert tree(get, "/api/datasets/acme/rows/tree/main?recursive=true&limit=5") == (whole, 3)
    hub.settings.page_size = 4
    try:
        assert tree(get, "/api/datasets/acme/rows/tree/main?recursive=true") == (whole, 3)
        hub.settings.link_origin = "https://huggingface.co"
        link = get("/api/datasets/acme/rows/tree/main?recursive=true").headers["Link"]
        assert link.startswith("<https://huggingface.co/api/datasets/acme/rows/tree/main?recursive=true&cursor=")
    finally:
        hub.settings.page_size, hub.settings.link_origin = 1000, ""


@pytest.mark.parametrize("name, value, check", [
    ("tree_directories", False, lambda answer: all(each["type"] == "file" for each in answer.json)),
    ("tree_order", "shuffled", lambda answer: [each["path"] for each in answer.json]
     != sorted(each["path"] for each in answer.json)),
    ("lfs_oid", "sha256", lambda answer: any(len(each["oid"]) == 64 for each in answer.json)),
    ("tree_slash_redirect", True, lambda answer: answer.status == 307 and "/tree/main/?" in answer.location),
    ("absent_routes", ("tree",), lambda answer: answer.status == 404 and answer.code is None)])
def test_quirks_of_trees(hub, get, name, value, check):
    target = "/api/models/acme/tiny/tree/main?recursive=true"
    assert not check(get(target))
    usual = getattr(hub.settings, name)
    setattr(hub.settings, name, value)
    try:
        assert check(get(target))
    finally:
        setattr(hub.settings, name, usual)


def test_paths_info(hub, get):
    target = "/api/models/acme/tiny/paths-info/main"
    form = urlencode([("paths", "config.json"), ("paths", "a dir"), ("paths", "nope"), ("expand", "False")])
    found = get(target, "POST", body=form, **FORM).json
    assert [(each["path"], each["type"]) for each in found] == [("config.json", "file"), ("a dir", "directory")]
    body = json.dumps({"paths": ["config.json"], "expand": True})
    assert "lastCommit" in get(target, "POST", body=body, Content_Type="application/json").json[0]


# ---- files


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_git_file_in_two_hops(hub, get, method):
    answer = get("/acme/tiny/resolve/main/a%20dir/b%23c%25.txt", method)
    assert answer.status == 307 and answer.headers["Location"].startswith("/api/resolve-cache/models/acme/tiny/")
    assert answer.headers["X-Repo-Commit"] == hub.repo("acme/tiny").head
    assert int(answer.headers["Content-Length"]) > 100 and "ETag" not in answer.headers
    answer = get(answer.location, method)
    assert (answer.status, answer.headers["Content-Length"]) == (200, "3")
    assert answer.headers["ETag"] == f'"{blob(hub, "a dir/b#c%.txt").oid}"'
    assert answer.body == (b"odd" if method == "GET" else b"")


def test_resolve_cache_is_strict(hub, get):
    head = hub.repo("acme/tiny").head
    assert get("/api/resolve-cache/models/acme/tiny/main/config.json").status == 400
    assert get(f"/api/resolve-cache/models/acme/tiny/{head}/config.json").status == 200
    assert get(f"/api/resolve-cache/models/acme/tiny/{head}/config.json?etag=%22{'0' * 40}%22").status == 400
    hub.settings.strict_query = True
    try:
        assert get(f"/api/resolve-cache/models/acme/tiny/{head}/config.json").status == 400
        assert get.fetch("/acme/tiny/resolve/main/config.json").status == 200
    finally:
        hub.settings.strict_query = False


@pytest.mark.parametrize("place", ["nginx", "hub"])
def test_lfs_file_by_signed_url(hub, get, place):
    hub.settings.bytes = place
    try:
        answer = get("/acme/tiny/resolve/main/model.safetensors", "HEAD")
        assert answer.status == 302
        assert answer.headers["X-Linked-Etag"] == f'"{blob(hub, "model.safetensors").sha256}"'
        assert answer.headers["X-Linked-Size"] == str(BIG.size) != answer.headers["Content-Length"]
        assert answer.location.startswith(("https" if place == "nginx" else "http") + "://127.0.0.1:")
        assert not answer.location.startswith(hub.endpoint)
        part = get(answer.location, Range="bytes=1000000-1000099")
        assert part.status == 206 and part.headers["Content-Range"] == f"bytes 1000000-1000099/{BIG.size}"
        assert part.body == BIG.read(1000000, 100)
        assert get(answer.location).body == BIG.read(0, BIG.size)
        assert get(answer.location, Range=f"bytes={BIG.size}-").status == 416
    finally:
        hub.settings.bytes = "nginx"


def test_direct_file(hub, get):
    hub.settings.bytes = hub.settings.git_files = "direct"
    try:
        for path in ("config.json", "model.safetensors"):
            answer = get(f"/acme/tiny/resolve/main/{path}")
            assert (answer.status, answer.headers["ETag"]) == (200, f'"{blob(hub, path).etag}"')
            assert len(answer.body) == blob(hub, path).size
    finally:
        hub.settings.bytes, hub.settings.git_files = "nginx", "redirect"


@pytest.mark.parametrize("asked, status, told, body", [
    ("bytes=2-4", 206, "bytes 2-4/8", b'a":'), ("bytes=6-", 206, "bytes 6-7/8", b'1}'),
    ("bytes=-1", 206, "bytes 7-7/8", b"}"), ("bytes=5-99", 206, "bytes 5-7/8", b" 1}"),
    ("bytes=8-", 416, "bytes */8", b""), ("bytes=0-1,3-4", 200, None, b'{"a": 1}'),
    ("nonsense", 200, None, b'{"a": 1}')])
def test_ranges(get, asked, status, told, body):
    answer = get.fetch("/acme/tiny/resolve/main/config.json", Range=asked)
    assert (answer.status, answer.headers.get("Content-Range"), answer.body) == (status, told, body)


def test_other_ways_to_a_file(hub, get):
    etag = blob(hub, "config.json").etag
    for known in (f'"{etag}"', f'W/"{etag}"', etag):
        assert get("/acme/tiny/resolve/main/config.json", If_None_Match=known).status == 304
    assert get("/acme/tiny/raw/main/model.safetensors").body == blob(hub, "model.safetensors").pointer
    assert get.fetch("/datasets/acme/rows/resolve/main/part/03.csv").body == b"3"
    assert get.fetch("/acme/tiny/resolve/refs%2Fpr%2F1/pr.txt").body == b"pr"
    assert get.fetch("/acme/tiny/resolve/main/empty.txt").body == b""
    assert get("/acme/tiny/resolve/main/empty.txt", Range="bytes=0-0").status == 307
    assert get.fetch("/bare/resolve/main/x").body == b"1"


def test_xet_headers(hub, get):
    answer = get("/acme/tiny/resolve/main/xet.bin", "HEAD")
    assert answer.headers["X-Xet-Hash"] == "ab" * 32
    assert f"<{hub.endpoint}/api/models/acme/tiny/xet-read-token/" in answer.headers["Link"]
    assert get(re.match("<(.+?)>", answer.headers["Link"])[1]).status == 404
    told = get("/acme/tiny/resolve/main/xet.bin", Accept="application/vnd.xet-fileinfo+json, */*", Range="bytes=0-0")
    assert told.status == 200 and told.headers["Content-Type"] == "application/vnd.xet-fileinfo+json"
    assert "X-Xet-Hash" not in get("/acme/tiny/resolve/main/model.safetensors", "HEAD").headers


# ---- refusals


@pytest.mark.parametrize("target, token, status, code, message", [
    ("/api/models/no/such", None, 401, "RepoNotFound", "Invalid username or password."),
    ("/no/such/resolve/main/x", None, 401, "RepoNotFound", "Invalid username or password."),
    ("/api/models/no/such", "hf_bob", 404, "RepoNotFound", "Repository not found"),
    ("/api/models/lab/secret", None, 401, "RepoNotFound", None),
    ("/api/models/lab/secret", "hf_bob", 404, "RepoNotFound", None),
    ("/api/models/lab/secret/tree/main", "hf_carol", 200, None, None),
    ("/api/models/acme/tiny", "hf_wrong", 401, None, "Invalid credentials in Authorization header"),
    ("/lab/gated/resolve/main/x", None, 401, "GatedRepo", None),
    ("/api/models/lab/gated/auth-check", None, 401, "GatedRepo", None),
    ("/lab/gated/resolve/main/x", "hf_carol", 307, None, None),
    ("/lab/gated/resolve/main/x", "hf_bob", 307, None, None),
    ("/api/models/lab/gated/auth-check", "hf_bob", 200, None, None),
    ("/api/models/lab/gated", None, 200, None, None),
    ("/api/models/lab/closed", "hf_bob", 403, None, "Access to this resource is disabled."),
    ("/acme/tiny/resolve/nope/config.json", None, 404, "RevisionNotFound", None),
    ("/acme/tiny/resolve/main/nope", None, 404, "EntryNotFound", "Entry not found"),
    ("/api/models/acme/tiny/no-such-verb", None, 404, None, None)])
def test_refusals(get, target, token, status, code, message):
    for method in ("GET", "HEAD"):
        answer = get(target, method, token=token)
        assert (answer.status, answer.code) == (status, code)
        if message:
            assert answer.headers["X-Error-Message"] == message
        if method == "GET" and status >= 400 and target.startswith("/api/"):
            assert answer.json["error"]


def test_gated_users_are_told_apart(hub, get):
    hub.add_user("dave")
    assert (get("/lab/gated/resolve/main/x", token="hf_dave").status) == 403
    cached = get("/lab/gated/resolve/main/x", token="hf_bob").location
    assert get(cached).status == 401 and get(cached, token="hf_bob").status == 200
    hub.revoke_token("hf_dave")
    assert get("/lab/gated/resolve/main/x", token="hf_dave").headers["X-Error-Message"].startswith("Invalid cred")


def test_uncoded_refusal(hub, get):
    hub.settings.missing_coded = False
    try:
        answer = get("/api/models/no/such")
        assert (answer.status, answer.code, answer.json) == (401, None, {"error": "Invalid username or password."})
    finally:
        hub.settings.missing_coded = True


def test_renamed(hub, get):
    answer = get("/api/models/lab/former/tree/main?recursive=true")
    assert answer.status == 307 and answer.headers["Location"] == "/api/models/lab/present/tree/main?recursive=true"
    assert "X-Repo-Commit" not in answer.headers
    assert get(answer.location).status == 200
    moved = get("/api/models/lab/former/paths-info/main", "POST", body="paths=x", **FORM)
    assert get(moved.location, "POST", body="paths=x", **FORM).json[0]["path"] == "x"
    assert get.fetch("/lab/former/resolve/main/x").body == b"1"
    hub.settings.resolve_renamed = "redirect"
    try:
        assert get("/lab/former/resolve/main/x").headers["Location"] == "/lab/present/resolve/main/x"
    finally:
        hub.settings.resolve_renamed = "serve"


def test_odd_names_survive(get):
    with Hub(nginx=False) as hub:
        names = ["a+b", "a b", "a?b", "a#b", "a%25b", "ä/ö", "-", ".hidden", "x" * 200]
        hub.add_repo("model", "o/dd", {name: name for name in names})
        get = Probe(hub.endpoint)
        assert {each["path"] for each in get("/api/models/o/dd/tree/main?recursive=1").json} == {*names, "ä"}
        for name in names:
            assert get.fetch(f"/o/dd/resolve/main/{quote(name)}").body == name.encode()

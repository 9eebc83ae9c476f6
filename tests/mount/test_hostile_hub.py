# SPDX-License-Identifier: Apache-2.0
"""Hubs, mirrors and networks that misbehave: right bytes or a documented errno in time; a daemon that lives;
and the same path right within 5 s of the end of the trouble."""
import errno
import hashlib
import json
import os
import time

import pytest
from lab import BLOCK, MIB, errno_of, eventually, exists
from world import fresh_bytes

pytestmark = pytest.mark.waits
DEADLINE = 1.5  # of a reader; short, for many of these wait it out


@pytest.fixture
def end(make):
    """(world, mount) where LFS bytes and small files come from the hub itself and can be spoilt."""
    world = make.world()
    return world, make.mount(world, "--read-deadline", str(DEADLINE))


def healthy(mount):
    assert mount.status()["pid"] == mount.pid
    assert not mount.daemon_gone()


def read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        return error.errno


def name(case):
    return "-".join(str(value)[:20] for value in case.values())


BAD_BYTES = [
    dict(name="status", code=500), dict(name="status", code=503), dict(name="status", code=404),
    dict(name="status", code=403), dict(name="status", code=401), dict(name="status", code=400),
    dict(name="status", code=416), dict(name="status", code=204), dict(name="status", code=304),
    dict(name="status", code=200, message="short"), dict(name="status", code=206, message="short"),
    dict(name="html"), dict(name="redirect_loop"), dict(name="redirect", location="http://127.0.0.1:9/x", code=302),
    dict(name="redirect", location="file:///etc/passwd", code=302), dict(name="redirect", location="", code=302),
    dict(name="redirect", location="//", code=307), dict(name="reset"), dict(name="reset", at=1000),
    dict(name="short", at=0), dict(name="short", at=700_000), dict(name="stall"), dict(name="stall", at=100_000),
    dict(name="gzip"), dict(name="wrong_content_range"), dict(name="wrong_content_range", shift=-1),
    dict(name="wrong_content_range", shift=0, total=1), dict(name="wrong_content_range", shift=BLOCK),
    dict(name="headers", drop=["Content-Range"]), dict(name="headers", put={"Content-Range": "bytes a-b/c"}),
    dict(name="headers", put={"Content-Range": "bytes 5-4/3"}),
    dict(name="headers", put={"Content-Range": "bytes 99999999999999999999-99999999999999999999/9"}),
    dict(name="headers", put={"Content-Type": "multipart/byteranges; boundary=x"}),
    dict(name="rate_limit", seconds=1), dict(name="rate_limit", seconds=100_000, retry_after=100_000),
    dict(name="rate_limit", seconds=None, retry_after="Wed, 21 Oct 2065 07:28:00 GMT"),
]


@pytest.mark.parametrize("fault", BAD_BYTES, ids=name)
def test_B2_F2_bytes_that_come_wrong(end, fault):
    world, mount = end
    repo = world.add({"model.bin": fresh_bytes(2 * MIB + 11), "config.json": fresh_bytes(900)})
    for path in repo.sizes:
        os.stat(mount.file(repo, path))
    world.hub.faults.add(on=("content", "bytes"), **fault)
    for path, data in repo.content.items():
        began = time.monotonic()
        got = read(mount.file(repo, path))
        assert got == data or got in (errno.EIO, errno.EACCES), f"{path}: {got if isinstance(got, int) else 'wrong bytes'}"
        assert time.monotonic() - began < DEADLINE + 3
    healthy(mount)
    world.hub.faults.clear()
    for path, data in repo.content.items():
        eventually(lambda: read(mount.file(repo, path)) == data, 5, f"{path} after the fault")
    healthy(mount)


PASSING = [dict(name="reset", count=2), dict(name="reset", at=300_000, count=2), dict(name="short", at=700_000, count=3),
           dict(name="status", code=503, count=2), dict(name="stall", at=10, count=1), dict(name="html", count=1),
           dict(name="no_length"), dict(name="ignore_range"), dict(name="delay", seconds=0.2),
           dict(name="drip", rate=5_000_000), dict(name="headers", drop=["Accept-Ranges"]),
           dict(name="headers", put={"Content-Range": "bytes */*"}, count=1),
           dict(name="rate_limit", seconds=1, count=1), dict(name="gzip", count=1)]


@pytest.mark.limit(60)
@pytest.mark.parametrize("fault", PASSING, ids=name)
def test_B2_F2_trouble_that_passes_is_not_seen(make, fault):
    """A reader with time gets its bytes, whatever happened on the way."""
    world = make.world()
    mount = make.mount(world, "--read-deadline", "40")
    repo = world.add({"model.bin": fresh_bytes(3 * MIB + 5), "config.json": fresh_bytes(900)})
    for path in repo.sizes:
        os.stat(mount.file(repo, path))
    world.hub.faults.add(on=("content", "bytes"), **fault)
    for path, data in repo.content.items():
        assert read(mount.file(repo, path)) == data, path


def test_B2_a_short_body_is_resumed_not_repeated(make):
    world = make.world()
    mount = make.mount(world)
    data = fresh_bytes(4 * MIB)
    repo = world.add({"model.bin": data})
    os.stat(mount.file(repo, "model.bin"))
    world.hub.faults.add("short", on=("content", "bytes"), at=600_000, count=3)
    assert mount.file(repo, "model.bin").read_bytes() == data
    # What was on its way when the connection ended may come twice, whole blocks may not.
    assert world.content_bytes(repo.etags["model.bin"]) <= len(data) + 3 * BLOCK


BAD_API = [
    dict(name="status", code=500), dict(name="status", code=404), dict(name="status", code=404, error_code="RepoNotFound"),
    dict(name="status", code=404, error_code="RevisionNotFound"), dict(name="status", code=404, error_code="EntryNotFound"),
    dict(name="status", code=401), dict(name="status", code=401, error_code="RepoNotFound"),
    dict(name="status", code=401, error_code="GatedRepo"), dict(name="status", code=403),
    dict(name="status", code=403, error_code="GatedRepo"), dict(name="status", code=451), dict(name="status", code=400),
    dict(name="status", code=204), dict(name="status", code=302), dict(name="html"), dict(name="bad_json"),
    dict(name="bad_json", text=""), dict(name="bad_json", text="null"), dict(name="bad_json", text="[]"),
    dict(name="bad_json", text="{}"), dict(name="bad_json", text="7"), dict(name="bad_json", text='"x"'),
    dict(name="bad_json", text="\ufeff{}"), dict(name="bad_json", text="[" * 100_000), dict(name="bad_json", text="{\"a\":" * 50_000),
    dict(name="bad_json", text='{"id": 7, "sha": 7}'), dict(name="bad_json", text='{"id": "../../x", "sha": "../../x"}'),
    dict(name="bad_json", text='{"id": "acme/x", "sha": null}'), dict(name="bad_json", text='{"id": "acme/x", "sha": "' + "g" * 40 + '"}'),
    dict(name="bad_json", text='{"id": "acme/x", "sha": "' + "A" * 40 + '"}'),
    dict(name="bad_json", text='[{"type": "file"}]'), dict(name="bad_json", text='[null, 7, "x", [], {}]'),
    dict(name="redirect_loop"), dict(name="redirect", location="http://127.0.0.1:9{path}", code=307),
    dict(name="redirect", location="gopher://x", code=307), dict(name="reset"), dict(name="short"), dict(name="short", at=0),
    dict(name="gzip"), dict(name="rate_limit", seconds=1), dict(name="rate_limit", seconds=1, left=3),
    dict(name="rate_limit", seconds=None), dict(name="headers", put={"Content-Length": "5"}),
    dict(name="headers", put={"Link": "<nonsense>; rel=\"next\""}), dict(name="headers", put={"Link": "<" + "x" * 5000}),
]


@pytest.mark.parametrize("fault", BAD_API, ids=name)
def test_F1_S4_answers_that_come_wrong(end, fault):
    """On names: ENOENT or EACCES, or right; a listing may be EIO, and is never short."""
    world, mount = end
    known = world.add({"a.txt": b"a", "sub/b.txt": b"b"})
    fresh = world.add({"c.txt": b"c"})
    path = mount.repo(known.id)
    assert (path / "refs/main").read_text() == known.commit
    with world.hub.faults.add(on="api", **fault):
        began = time.monotonic()
        for each in (mount.repo(fresh.id), path / "refs/nope", path / "snapshots" / known.commit / "a.txt"):
            assert errno_of(os.stat, each) in (0, errno.ENOENT, errno.EACCES), each
        listing = errno_of(os.listdir, path / "snapshots" / known.commit)
        assert listing in (0, errno.EIO, errno.EACCES, errno.ENOENT)
        assert (path / "refs/main").read_text() == known.commit
        assert time.monotonic() - began < 40
    healthy(mount)
    if fault.get("code") in (401, 403, 404, 451):
        # The Hub said no: that is believed for a while for names that were unknown.
        assert eventually(lambda: read(mount.file(known, "a.txt")) == b"a", 35)
        return
    if fault["name"] == "bad_json" and listing == 0:
        listed = os.listdir(path / "snapshots" / known.commit)
        assert listed == [] or sorted(listed) == ["a.txt", "sub"], listed
        if listed == []:
            assert fault["text"] == "[]"  # which is a commit without files, said by the Hub itself
            return
    eventually(lambda: read(mount.file(known, "a.txt")) == b"a", 5, "a known repository after the fault")
    eventually(lambda: read(mount.file(fresh, "c.txt")) == b"c", 5, "a new repository after the fault")
    assert sorted(os.listdir(path / "snapshots" / known.commit)) == ["a.txt", "sub"]


def entry(path, size=3, **more):
    return {"type": "file", "oid": hashlib.sha1(f"blob {size}\0".encode() + b"abc").hexdigest(), "size": size,
            "path": path, **more}


SHA = hashlib.sha256(b"abc").hexdigest()
HOSTILE = {
    "dot dot": entry("../evil"), "dot dot inside": entry("a/../../evil"), "absolute": entry("/etc/evil"),
    "empty": entry(""), "empty component": entry("a//evil"), "dot": entry("./evil"), "slash at the end": entry("evil/"),
    "nul": entry("ev\0il"), "control": entry("ev\nil"), "long name": entry("e" * 256), "long path": entry("/".join(["evil"] * 1100)),
    "just dots": entry(".."), "number for a path": entry(7), "no path": {"type": "file", "oid": "0" * 40, "size": 3},
    "negative size": entry("evil", -3), "huge size": entry("evil", 1 << 70), "text for a size": entry("evil", "3"),
    "fraction": entry("evil", 3.5), "no oid": {"type": "file", "size": 3, "path": "evil"},
    "bad oid": entry("evil", oid="zz"), "path for an oid": entry("evil", oid="../../../etc/passwd"),
    "bad lfs oid": entry("evil", lfs={"oid": "sha256:" + SHA, "size": 3}), "lfs is a list": entry("evil", lfs=[]),
    "no type": {"path": "evil", "oid": "0" * 40, "size": 3}, "odd type": entry("evil", type="fifo"),
    "file and directory": [entry("both"), entry("both/evil")], "directory and file": [entry("both/evil"), entry("both")],
    "said twice": [entry("twice"), entry("twice", 4)], "lone surrogate": entry("evil\\ud800"),
    "submodule": {"type": "commit", "oid": "0" * 40, "size": 0, "path": "module"},
}


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.replace(" ", "-"))
def test_S1_trees_that_must_not_reach_the_kernel(end, case):
    """Left out, or the whole listing refused: nothing of it becomes a name."""
    world, mount = end
    good = world.add({"a.txt": b"abc"})
    commit = good.commit
    evil = HOSTILE[case] if isinstance(HOSTILE[case], list) else [HOSTILE[case]]
    text = json.dumps([entry("good.txt"), *evil]).replace("\\\\ud800", "\\ud800")
    world.hub.faults.add("bad_json", on="tree", text=text)
    top = mount.repo(good.id) / "snapshots" / commit
    code = errno_of(os.listdir, top)
    assert code in (0, errno.EIO, errno.ENOENT), code
    if code == 0:
        listed = set(os.listdir(top))
        assert listed <= {"good.txt", "evil", "both", "twice", "module", "a", "e" * 256} - {"e" * 256}, listed
        if "evil" not in case and "evil" in listed:
            assert case not in ("dot dot", "dot dot inside", "absolute", "empty component", "nul", "control")
        for path, folders, files in os.walk(top):
            for each in folders + files:
                full = os.path.join(path, each)
                assert os.path.realpath(full).startswith(str(mount.repo(good.id))), full
                os.lstat(full)
        if "good.txt" in listed:
            assert os.stat(top / "good.txt").st_size == 3
    assert not os.path.exists(mount.box / "evil") and not exists(mount.point / "evil")
    healthy(mount)


@pytest.mark.parametrize("settings", [
    dict(bytes="direct"), dict(git_files="direct"), dict(bytes="direct", git_files="direct"), dict(ranges=False),
    dict(ranges=False, bytes="direct", git_files="direct"), dict(linked_headers=False),
    dict(linked_headers=False, bytes="direct"), dict(linked_on_git=True), dict(etag_quotes=False), dict(page_size=2),
    dict(page_size=2, honour_limit=False), dict(tree_directories=False), dict(tree_order="shuffled"),
    dict(tree_slash_redirect=True), dict(lfs_oid="sha256"), dict(json_paths_info=False, page_size=2),
    dict(resolve_renamed="redirect"), dict(missing_coded=False), dict(absent_routes=("auth-check", "whoami", "refs")),
    dict(absent_routes=("paths-info",), page_size=2), dict(link_origin="https://huggingface.co", page_size=2),
], ids=lambda settings: "-".join(f"{key}={value}" for key, value in settings.items()))
def test_B2_S1_other_hubs_and_mirrors(make, settings):
    world = make.world(**settings)
    mount = make.mount(world)
    files = {"a.txt": b"a", "sub/b.json": fresh_bytes(500), "sub/deep/model.bin": fresh_bytes(2 * MIB + 3), "empty": b"",
             "z space & +%.txt": b"z", "x.safetensors": fresh_bytes(50_000)}
    repo = world.add(files)
    top = mount.repo(repo.id)
    assert (top / "refs/main").read_text() == repo.commit
    # One path by itself first, as clients do.
    assert (top / "snapshots" / repo.commit / "sub/deep/model.bin").read_bytes() == files["sub/deep/model.bin"]
    assert (top / "snapshots" / repo.commit / "z space & +%.txt").read_bytes() == b"z"
    assert not exists(top / "snapshots" / repo.commit / "sub/nope.json")
    found = {os.path.relpath(os.path.join(path, each), top / "snapshots" / repo.commit)
             for path, _, names in os.walk(top / "snapshots" / repo.commit) for each in names}
    assert found == set(files)
    for path, data in files.items():
        assert (top / "snapshots" / repo.commit / path).read_bytes() == data, path


def test_B2_signed_urls_that_expire(make):
    """403 from storage means expired, not forbidden."""
    world = make.world()
    mount = make.mount(world)
    data = fresh_bytes(8 * MIB)
    repo = world.add({"model.bin": data})
    with open(mount.file(repo, "model.bin"), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), BLOCK, 0) == data[:BLOCK]
        for block, status in enumerate((403, 401, 404, 410), start=1):
            world.hub.settings.expired_status = status
            world.hub.expire_urls()
            assert os.pread(file.fileno(), BLOCK, block * BLOCK) == data[block * BLOCK:(block + 1) * BLOCK], status
        assert file.read() == data


def test_B2_signed_urls_that_expire_at_nginx(make):
    world = make.world(nginx=True)
    mount = make.mount(world)
    data = fresh_bytes(4 * MIB)
    repo = world.add({"model.bin": data})
    with open(mount.file(repo, "model.bin"), "rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        assert os.pread(file.fileno(), BLOCK, 0) == data[:BLOCK]
        world.hub.expire_urls()
        assert file.read() == data


@pytest.mark.parametrize("etag", ['"{}"', 'W/"{}"', "{}", '"{}-2"', '"0000"', '""', '"../../x"'],
                         ids=["quoted", "weak", "bare", "multipart", "other", "empty", "path"])
def test_B2_etag_shapes(end, etag):
    """Right content under any spelling of its name; where the name contradicts: an error, not other bytes."""
    world, mount = end
    world.hub.settings.bytes = "direct"
    world.hub.settings.git_files = "direct"
    repo = world.add({"model.bin": fresh_bytes(MIB), "config.json": fresh_bytes(500)})
    for path, data in repo.content.items():
        said = etag.replace("{}", repo.etags[path])
        with world.hub.faults.add("headers", on=("resolve", "cache"), path=f"*{path}*", put={"ETag": said, "X-Linked-Etag": said}):
            got = read(mount.file(repo, path))
            assert got == data or got == errno.EIO
            if etag in ('"{}"', 'W/"{}"', "{}"):
                assert got == data, etag
        eventually(lambda: read(mount.file(repo, path)) == data, 5)


def test_B2_F2_a_hub_whose_commit_contradicts(end):
    world, mount = end
    repo = world.add({"model.bin": fresh_bytes(MIB)})
    os.stat(mount.file(repo, "model.bin"))
    with world.hub.faults.add("headers", on="resolve", put={"X-Repo-Commit": "9" * 40, "X-Linked-Etag": '"' + "8" * 64 + '"'}):
        assert read(mount.file(repo, "model.bin")) in (errno.EIO, repo.content["model.bin"])
    eventually(lambda: read(mount.file(repo, "model.bin")) == repo.content["model.bin"], 5)


def test_F1_a_gated_repository_is_eacces(end):
    """Its names are known and its bytes are not ours; and they are everybody's when it is opened."""
    world, mount = end
    repo = world.add({"config.json": fresh_bytes(300)}, gated="auto")
    path = mount.file(repo, "config.json")
    code = errno_of(lambda: path.read_bytes())
    assert code == errno.EACCES, errno.errorcode.get(code, code)
    healthy(mount)
    world.hub.set_gated(repo.name, False)
    eventually(lambda: read(path) == repo.content["config.json"], 5)


def test_F1_a_forbidden_repository_is_eacces(end):
    """Nothing is remembered of it."""
    world, mount = end
    repo = world.add()
    with world.hub.faults.add("status", on="api", code=403, error_code="GatedRepo"):
        assert errno_of(os.stat, mount.repo(repo.id)) == errno.EACCES
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit


def test_F1_a_rate_limited_lookup_is_absent(end):
    """For longer than a lookup waits: at once, and asked for again when the Hub has time."""
    world, mount = end
    repo = world.add()
    with world.hub.faults.add("rate_limit", on="api", seconds=10, count=1):
        began = time.monotonic()
        assert errno_of(os.stat, mount.repo(repo.id)) == errno.ENOENT
        assert time.monotonic() - began < 3
    eventually(lambda: exists(mount.repo(repo.id)), 15, "the repository after the window")


def test_F2_bytes_that_the_hub_has_lost_are_eio(end):
    """The file is there; a client that hears ENOENT would believe that it is not."""
    world, mount = end
    repo = world.add({"config.json": fresh_bytes(300)})
    path = mount.file(repo, "config.json")
    os.stat(path)
    for code in ("EntryNotFound", "RepoNotFound"):
        with world.hub.faults.add("status", on=("resolve", "content"), code=404, error_code=code):
            assert errno_of(lambda: path.read_bytes()) == errno.EIO, code
    eventually(lambda: read(path) == repo.content["config.json"], 5)


def test_S3_a_deleted_repository_keeps_what_is_here(end):
    world, mount = end
    repo = world.add({"config.json": b"{}", "model.bin": fresh_bytes(2 * MIB)})
    assert mount.file(repo, "config.json").read_bytes() == b"{}"
    world.hub.delete_repo(repo.name)
    assert mount.file(repo, "config.json").read_bytes() == b"{}"
    assert read(mount.file(repo, "model.bin")) in (errno.EIO, errno.ENOENT)
    assert sorted(os.listdir(mount.repo(repo.id) / "snapshots" / repo.commit)) == ["config.json", "model.bin"]


def test_tokens_go_to_the_hub_and_nowhere_else(make):
    world = make.world(nginx=True)
    token = world.hub.add_user("alice")
    mount = make.mount(world, "--log-level", "debug", env={"HF_TOKEN": token})
    repo = world.add({"model.bin": fresh_bytes(MIB), "config.json": b"{}"}, private=True, allowed=["alice"])
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data
    assert all(each.token for each in world.asked())
    assert world.hub.origin_requests() and not any(each.token for each in world.hub.origin_requests())
    assert token not in mount.log() and "Signature=" not in mount.log()
    mount.umount()
    for path in (mount.state / "hffs-v1").rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path

# SPDX-License-Identifier: Apache-2.0
"""huggingface_hub, from the oldest that people still run to the newest, on the mount and on a plain cache.

One process per version, way of naming the cache, and mode runs all steps. What they give and say on
stderr must be what the same client gives and says on a plain cache that has everything; and nothing but
hffs may have asked for content."""
import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from client import by_clients, plain
from hub import Random

VERSIONS = ["0.17.3", "0.23.4", "0.36.0", "1.0.1", "2.4.0"]
MODES = ["online", "offline", "down"]
VIAS = ["cache_dir", "variable"]

WEIGHTS = Random(3 << 20, 7)
FILES = {"config.json": b'{"model_type": "tiny"}\n', "model.safetensors": WEIGHTS, "README.md": b"# tiny\n",
         "sub/dir/vocab.txt": b"a\nb\n", "tokenizer.json": b'{"version": "1.0"}\n' * 10}
OLD = {"config.json": b'{"model_type": "older"}\n'}
ROWS = {"data/train.csv": b"a,b\n1,2\n", "README.md": b"# rows\n"}
_serial = itertools.count(1)


def sha256(content):
    data = content.read(0, content.size) if isinstance(content, Random) else content
    return hashlib.sha256(data).hexdigest()


@dataclass
class World:
    hub: object
    old: str = ""
    new: str = ""
    pull_request: str = ""

    def fill(self):
        hub = self.hub
        tiny = hub.add_repo("model", "acme/tiny", FILES | OLD)
        self.old = tiny.head
        hub.add_tag("acme/tiny", "v1.0")
        hub.add_branch("acme/tiny", "try/this")
        self.new = hub.push("acme/tiny", {"config.json": FILES["config.json"]})
        _, self.pull_request = hub.add_pr("acme/tiny", {"config.json": b'{"model_type": "proposed"}\n'})
        for id in ("solo", "acme/whole", "acme/some", "acme/local", "acme/forced"):
            hub.add_repo("model", id, FILES)
        hub.add_repo("dataset", "acme/rows", ROWS)
        return self


@pytest.fixture(scope="module")
def world(hub):
    return World(hub).fill()


@dataclass
class Step:
    name: str
    do: str
    repo: str = None
    file: str = None
    options: dict = field(default_factory=dict)
    modes: tuple = ("online", "offline", "down")

    def request(self, moved):
        return {"step": self.name, "do": self.do, "repo": moved if self.repo == MOVED else self.repo,
                "file": self.file, "options": self.options}


# It asks a Hub that refuses connections six times in 23 s before it looks at what it has, for each
# file: one file is enough.
PATIENT = {"0.36.0"}
WITHOUT_ASKING = {"whole commit", "commit without a ref", "local files only", "probe", "probe for a missing file",
                  "scan"}
MOVED = "acme/moved"  # stands for a repository of this run's own, whose branch moves


def steps(world):
    """In this order. A repository that a step is the first to name is one that the mount has never seen."""
    known = ("online", "offline")
    return [
        Step("small file", "file", "acme/tiny", "config.json"),
        Step("large file", "file", "acme/tiny", "model.safetensors"),
        Step("file in folders", "file", "acme/tiny", "sub/dir/vocab.txt"),
        Step("no organisation", "file", "solo", "config.json"),
        Step("whole commit", "file", "acme/tiny", "config.json", {"revision": world.new}),
        Step("commit without a ref", "file", "acme/tiny", "config.json", {"revision": world.old}),
        Step("tag", "file", "acme/tiny", "config.json", {"revision": "v1.0"}),
        Step("branch with a slash", "file", "acme/tiny", "config.json", {"revision": "try/this"}),
        Step("pull request", "file", "acme/tiny", "config.json", {"revision": "refs/pr/1"}),
        Step("dataset", "file", "acme/rows", "data/train.csv", {"repo_type": "dataset"}),
        Step("local files only", "file", "acme/local", "model.safetensors", {"local_files_only": True}),
        Step("missing file", "file", "acme/tiny", "added_tokens.json", modes=known),
        Step("missing repository", "file", "acme/nothing", "config.json", modes=("online",)),
        Step("probe", "probe", "acme/tiny", "tokenizer.json"),
        Step("probe for a missing file", "probe", "acme/tiny", "added_tokens.json"),
        Step("moved branch", "file", MOVED, "config.json"),
        Step("snapshot", "snapshot", "acme/whole"),
        Step("snapshot of a moved branch", "snapshot", MOVED),
        Step("part of a snapshot", "snapshot", "acme/some", None, {"allow_patterns": ["*.json"]}),
        Step("scan", "scan"),
    ]


class Runs:
    """Every run that was needed so far, kept: its steps are tests of their own."""

    def __init__(self, world, client, folder, mount):
        self._world, self._client, self._folder, self._mount = world, client, folder, mount
        self._filled, self._runs = {}, {}

    def get(self, version, via, mode):
        key = version, via, mode
        if key not in self._runs:
            self._runs[key] = self._make(*key)
        return self._runs[key]

    def _steps(self, mode, moved, version=None, via="variable"):
        found = [step for step in steps(self._world) if mode in step.modes]
        if mode == "down" and version in PATIENT:
            found = [step for step in found if step.name in WITHOUT_ASKING or
                     (step.name == "small file" and via == "variable")]
        return [step.request(moved) for step in found]

    def _plain(self, version):
        """A plain cache into which this version has downloaded everything."""
        if version not in self._filled:
            cache = self._folder / f"plain-{version}"
            cache.mkdir()
            whole = [("acme/tiny", each) for each in ("main", self._world.old, "v1.0", "try/this", "refs/pr/1")]
            whole += [(id, "main") for id in ("solo", "acme/whole", "acme/some", "acme/local")]
            self._ask(version, "cache_dir", [
                {"step": str(each), "do": "snapshot", "repo": each[0], "options": {"revision": each[1]}}
                for each in whole] + self._steps("online", "acme/whole"), cache)
            self._filled[version] = cache
        return self._filled[version]

    def _ask(self, version, via, requested, cache, offline=False):
        options, env = {}, {}
        if via == "cache_dir":
            options["cache_dir"] = str(cache)
        else:
            env["HUGGINGFACE_HUB_CACHE" if version.startswith("0.17") else "HF_HUB_CACHE"] = str(cache)
        return self._client(f"hub-{version}").run("hub_steps.py", {"steps": requested, "options": options}, cache,
                                                  env, offline)

    def _make(self, version, via, mode):
        hub = self._world.hub
        client = self._client(f"hub-{version}")  # skips here if it is missing
        plain = self._plain(version)
        moved = f"{MOVED}-{next(_serial)}"
        before = hub.add_repo("model", moved, FILES | OLD).head
        mount = self._mount()
        requested = self._steps(mode, moved, version, via)
        everything = {"options": {"cache_dir": str(plain)}, "steps": [
            {"step": "all", "do": "snapshot", "repo": moved, "options": {}}]}
        client.run("hub_steps.py", everything, plain)
        assert (mount.repo(moved) / "refs/main").read_text() == before
        after = hub.push(moved, {"config.json": FILES["config.json"]})
        # The plain cache has the new commit's files, too, though its ref is still the old one.
        everything["steps"][0]["options"] = {"revision": after}
        client.run("hub_steps.py", everything, plain)
        if mode == "down":
            for id in ("acme/tiny", "solo", "acme/local", "acme/whole", "acme/some", moved):
                mount.warm(id)
            for revision in ("v1.0", "try/this", "refs/pr/1"):
                mount.warm("acme/tiny", revision)
            mount.warm("acme/rows", type="dataset")
            hub.down(origin=True)
        hub.clear_log()
        try:
            with ThreadPoolExecutor(2) as pool:
                wanted, got = pool.map(lambda cache: self._ask(version, via, requested, cache, mode == "offline"),
                                       (plain, mount.point))
        finally:
            if mode == "down":
                hub.up()
        return Run(got, wanted, by_clients(hub.content_requests()), hub.requests(), moved, before, after)


@dataclass
class Run:
    got: object
    wanted: object
    content: list
    requests: list
    moved: str
    before: str
    after: str


@pytest.fixture(scope="module")
def runs(world, client, folder, module_mount):
    return Runs(world, client, folder, module_mount)


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture(params=VIAS)
def via(request):
    return request.param


@pytest.fixture(params=VERSIONS, scope="module")
def version(request):
    return request.param


@pytest.fixture
def run(runs, version, via, mode):
    return runs.get(version, via, mode)


# What a moved branch gives depends on when its ref was asked for; only the mount knows what is absent.
NOT_AS_ON_PLAIN = {"moved branch", "snapshot of a moved branch", "probe for a missing file", "scan"}


def differences(run, compare):
    found = {step: compare(step) for step in run.wanted.results}
    return {step: each for step, each in found.items() if each}


def test_gives_what_a_plain_cache_gives(run):
    def compare(step):
        if step in NOT_AS_ON_PLAIN:
            return None
        got, wanted = dict(run.got[step]), dict(run.wanted[step])
        for said, outcome in ((got, run.got), (wanted, run.wanted)):
            said.pop("text", None)
            if "path" in said:
                said["path"] = outcome.relative(step)
        return None if got == wanted else {"got": run.got[step], "wanted": run.wanted[step],
                                           "said": run.got.said(step)}
    assert differences(run, compare) == {}


def test_says_what_it_says_on_a_plain_cache(run):
    def compare(step):
        got, wanted = run.got.said(step), run.wanted.said(step)
        return None if got == wanted else {"got": got, "wanted": wanted}
    assert differences(run, compare) == {}


def test_content_is_right(run):
    files = {"small file": FILES["config.json"], "large file": WEIGHTS, "tag": OLD["config.json"],
             "dataset": ROWS["data/train.csv"], "commit without a ref": OLD["config.json"],
             "pull request": b'{"model_type": "proposed"}\n'}
    for step, content in files.items():
        if step in run.wanted.results:
            assert run.got[step]["sha256"] == sha256(content), step
    if "files" in run.wanted.results.get("snapshot", {}):  # 0.17 has none while the Hub is down
        assert run.got["snapshot"]["files"] == {path: sha256(content) for path, content in FILES.items()}


def test_no_client_fetches_content(run):
    assert run.content == []


@pytest.mark.parametrize("mode", ["offline"], indirect=True)
def test_offline_clients_ask_nothing(run, version):
    asked = by_clients(run.requests)
    if version == "0.17.3":  # its snapshot_download asks for the commit all the same, on a plain cache too
        asked = [each for each in asked if each.kind != "info"]
    assert asked == []


def test_moved_branch(run, mode):
    for step in ("moved branch", "snapshot of a moved branch"):
        if "path" not in run.wanted.results.get(step, {}):
            continue
        got = run.got.relative(step)
        at = next((sha for sha in (run.before, run.after) if sha in got), None)
        assert at, got
        if mode == "online":
            assert at == run.after, "the client was told of the new commit and got the old one"
        content = FILES["config.json"] if at == run.after else OLD["config.json"]
        said = run.got[step]
        assert (said["sha256"] if "sha256" in said else said["files"]["config.json"]) == sha256(content)


def test_missing_file_is_known_to_be_absent(run):
    assert run.got["probe for a missing file"].get("found") == "known to be absent"


def test_scan(run, world, mode):
    seen, wanted = run.got["scan"], run.wanted["scan"]
    # None more; of the folders that it leaves for a repository that is not there, 0.17 warns in a plain cache.
    assert {plain(each, run.got.cache) for each in seen["warnings"]} <= \
        {plain(each, run.wanted.cache) for each in wanted["warnings"]}
    tiny = seen["repos"]["models/acme/tiny"]
    assert {world.old, world.new} <= set(tiny["commits"])
    if mode == "down" and "small file" not in run.wanted.results:
        return
    assert tiny["refs"]["main"] == world.new
    assert tiny["files"] == sorted(path.rsplit("/")[-1] for path in FILES)
    assert tiny["size"] >= WEIGHTS.size
    assert seen["repos"]["datasets/acme/rows"]["refs"].keys() == {"main"}


@pytest.mark.parametrize("via", ["variable"])
def test_force_download(hub, world, client, folder, mount, version, via):
    """The client fetches by itself, as it was told to; what it brings ends in the mount, as in a plain cache."""
    plain = folder / f"forced-{version}"
    plain.mkdir()
    variable = "HUGGINGFACE_HUB_CACHE" if version.startswith("0.17") else "HF_HUB_CACHE"
    request = {"steps": [Step(name, "file", "acme/forced", file, {"force_download": True}).request(None)
                         for name, file in (("small", "config.json"), ("large", "model.safetensors"))]}
    made = mount()
    for _ in range(2):  # the second time it is there already
        wanted = client(f"hub-{version}").run("hub_steps.py", request, plain, {variable: str(plain)})
        got = client(f"hub-{version}").run("hub_steps.py", request, made.point, {variable: str(made.point)})
        for step, content in (("small", FILES["config.json"]), ("large", WEIGHTS)):
            assert got.relative(step) == wanted.relative(step)
            assert got[step]["sha256"] == sha256(content)
            assert got.said(step) == wanted.said(step)

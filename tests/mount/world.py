# SPDX-License-Identifier: Apache-2.0
"""The test hub as these tests speak of it: what was put on it, and what it was asked for."""
import itertools
import random
from dataclasses import dataclass, field

from hub import Hub

_serial = itertools.count(1)


def fresh_bytes(size):
    """Bytes that no other test has: one content is one blob, and blobs are counted."""
    return random.Random(f"mount tests {next(_serial)}").randbytes(size)


@dataclass(frozen=True)
class Added:
    """One commit of a repository on the hub."""
    type: str
    id: str
    commit: str
    etags: dict  # path → name of the blob
    sizes: dict
    content: dict = field(repr=False, default_factory=dict)  # what was given, where it was bytes

    @property
    def name(self):
        return self.id if self.type == "model" else f"{self.type}s/{self.id}"


class World:
    """A hub of its own. `nginx`: LFS bytes come from nginx over TLS, else from the hub itself."""

    def __init__(self, nginx=False, **options):
        self.hub = Hub(nginx=nginx, **options).start()
        self.endpoint = self.hub.endpoint

    def stop(self):
        self.hub.stop()

    @property
    def env(self):
        """For the daemon, whose --endpoint is the one under test."""
        return {key: value for key, value in self.hub.env().items() if key != "HF_ENDPOINT"}

    # What is on it

    def add(self, files=None, type="model", id=None, **options):
        id = id or f"acme/repo-{next(_serial)}"
        files = {"config.json": fresh_bytes(300)} if files is None else files
        self.hub.add_repo(type, id, files, **options)
        return self._added(type, id, self.hub.repo(self._name(type, id)).commit, files)

    def push(self, repo, files, **options):
        sha = self.hub.push(repo.name, files, **options)
        return self.at(repo, sha, files)

    def at(self, repo, sha, files=()):
        """The same repository at another commit."""
        return self._added(repo.type, repo.id, self.hub.repo(repo.name).commits[sha],
                           {**repo.content, **dict(files)})

    @staticmethod
    def _name(type, id):
        return id if type == "model" else f"{type}s/{id}"

    @staticmethod
    def _added(type, id, commit, files):
        return Added(type, id, commit.id, {path: blob.etag for path, blob in commit.files.items()},
                     {path: blob.size for path, blob in commit.files.items()},
                     {path: data for path, data in files.items() if isinstance(data, bytes)})

    # What was asked

    def asked(self, **wanted):
        """Every request to the hub itself."""
        return self.hub.requests(**wanted)

    def api(self, repo=None):
        """Metadata calls, as the Hub counts them."""
        kinds = ("info", "refs", "tree", "paths-info", "list", "commits", "whoami", "auth-check")
        found = self.hub.requests(kind=kinds)
        return [each for each in found if repo is None or each.repo == repo.id]

    def total(self):
        """Requests of every kind, wherever they went."""
        return len(self.hub.requests()) + len(self.hub.origin_requests())

    def content(self, etag=None):
        """GETs that were answered with bytes of a file."""
        return self.hub.content_requests(**({} if etag is None else {"blob": etag}))

    def content_bytes(self, etag=None):
        return sum(each.bytes for each in self.content(etag))


class quiet:
    """with quiet(world): … – no request is sent in there."""

    def __init__(self, world, repo=None):
        self.world, self.repo = world, repo

    def _now(self):
        found = self.world.asked() + self.world.hub.origin_requests()
        return [each for each in found if self.repo is None or each.repo == self.repo.id]

    def __enter__(self):
        self._before = len(self._now())
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            sent = self._now()[self._before:]
            assert not sent, f"requests were sent: {sent}"

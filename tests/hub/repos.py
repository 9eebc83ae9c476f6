# SPDX-License-Identifier: Apache-2.0
"""Repositories, their commits and refs, and who may see them."""
import hashlib
import re
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from . import errors

TYPES = ("model", "dataset", "space", "kernel")
FIRST_DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)
HEX = re.compile(r"[0-9a-f]+")
REPO_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?")


@dataclass(frozen=True)
class Commit:
    id: str
    title: str
    date: datetime
    files: dict  # path → Blob
    folders: dict  # path → git tree id
    changed: dict  # path → the Commit that last changed it; absent: this one
    parent: object = None

    def last_change(self, path):
        return self.changed.get(path, self)


@dataclass(frozen=True)
class User:
    name: str
    orgs: tuple = ()
    role: str = "read"

    @property
    def id(self):
        return hashlib.sha256(self.name.encode()).hexdigest()[:24]


@dataclass
class Repo:
    type: str
    id: str
    private: bool = False
    gated: object = False  # False, "auto" or "manual"
    disabled: bool = False
    allowed: set = field(default_factory=set)  # users who see it though private
    granted: set = field(default_factory=set)  # users on the list of a gated repo
    commits: dict = field(default_factory=dict)
    branches: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    pull_requests: dict = field(default_factory=dict)
    converts: dict = field(default_factory=dict)
    long_ids: bool = False  # 64-hex commit ids, as some other Hubs have
    deleted: bool = False

    @property
    def head(self):
        return self.branches["main"].id

    @property
    def commit(self):
        return self.branches["main"]

    def resolve(self, revision):
        """The commit that `revision` names: a branch, a tag, a full ref, a commit id or its beginning."""
        for names, prefix in ((self.branches, "refs/heads/"), (self.tags, "refs/tags/"),
                              (self.pull_requests, "refs/pr/"), (self.converts, "refs/convert/")):
            if revision.startswith(prefix) and revision[len(prefix):] in names:
                return names[revision[len(prefix):]]
        for names in (self.branches, self.tags, self.commits):
            if revision in names:
                return names[revision]
        if len(revision) >= 4 and HEX.fullmatch(revision):
            found = [commit for sha, commit in self.commits.items() if sha.startswith(revision)]
            if len(found) == 1:
                return found[0]
        raise errors.revision_not_found(revision)

    def refs_of(self, kind):
        return {"branch": self.branches, "tag": self.tags, "pr": self.pull_requests,
                "convert": self.converts}[kind]


def build_commit(repo, files, parent, title):
    """A commit whose id follows from its content, its parent and its repository, as in git."""
    new = hashlib.sha256 if repo.long_ids else hashlib.sha1
    folders = {}
    tree = _tree_id(new, "", files, folders)
    date = FIRST_DAY + timedelta(hours=len(repo.commits))
    text = f"tree {tree}\n" + (f"parent {parent.id}\n" if parent else "") + \
        f"author hub {int(date.timestamp())} +0000\n\n{title}\n\n{repo.type} {repo.id}\n"
    changed = {}
    if parent:
        for path, blob in files.items():
            if parent.files.get(path) == blob:
                changed[path] = parent.last_change(path)
        for path, oid in folders.items():
            if parent.folders.get(path) == oid:
                changed[path] = parent.last_change(path)
    sha = new(f"commit {len(text)}\0{text}".encode()).hexdigest()
    return Commit(sha, title, date, dict(files), folders, changed, parent)


def _tree_id(new, prefix, files, folders):
    entries, below = [], {}
    for path, blob in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            below.setdefault(name, {})[rest] = blob
        else:
            entries.append((name, b"100644", blob.oid))
    for name, inside in below.items():
        oid = _tree_id(new, f"{prefix}{name}/", inside, folders)
        folders[prefix + name] = oid
        entries.append((name + "/", b"40000", oid))
    data = b"".join(mode + b" " + name.rstrip("/").encode() + b"\0" + bytes.fromhex(oid)
                    for name, mode, oid in sorted(entries))
    return new(b"tree %d\0" % len(data) + data).hexdigest()


class Repos:
    """Every repository and token. Changes are serialised; commits never change once made."""

    def __init__(self, store):
        self._store = store
        self._repos = {}
        self._moved = {}  # (type, old id) → new id
        self._lock = threading.RLock()
        self.users = {}  # token → User

    def all(self):
        return list(self._repos.values())

    def find(self, type, id):
        return self._repos.get((type, id))

    def find_moved(self, type, id):
        seen = set()
        while (type, id) in self._moved and id not in seen:
            seen.add(id)
            id = self._moved[type, id]
        return id if seen else None

    def get(self, repo):
        """A Repo as it is, or one by name: "acme/tiny", "datasets/acme/rows"."""
        if isinstance(repo, Repo):
            return repo
        type = "model"
        for each in TYPES:
            if repo.startswith(f"{each}s/"):
                type, repo = each, repo[len(each) + 2:]
                break
        found = self.find(type, self.find_moved(type, repo) or repo)
        if not found:
            raise KeyError(f"no {type} {repo}")
        return found

    def add(self, type, id, files, title="initial commit", **options):
        if type not in TYPES or not REPO_ID.fullmatch(id):
            raise ValueError(f"not a repository: {type} {id}")
        with self._lock:
            if (type, id) in self._repos:
                raise ValueError(f"{type} {id} exists")
            for name in ("allowed", "granted"):
                options[name] = set(options.get(name, ()))
            repo = Repo(type, id, **options)
            self._moved.pop((type, id), None)
            self._commit(repo, self._blobs(files), None, title, repo.branches, "main")
            self._repos[type, id] = repo
            return repo

    def push(self, repo, files, delete=(), replace=False, title="push", kind="branch", name="main",
             parent=None):
        """A new commit on a branch (or pull request): `files` over its parent's, without `delete`."""
        with self._lock:
            names = repo.refs_of(kind)
            parent = repo.resolve(parent) if parent else names.get(name, repo.branches["main"])
            now = {} if replace else dict(parent.files)
            for path in delete:
                del now[path]
            now.update(self._blobs(files))
            return self._commit(repo, now, parent, title, names, name).id

    def force_push(self, repo, files, branch="main", drop_old=False, title="force push"):
        """The branch's history becomes one new commit; `drop_old`: the former commits are gone."""
        with self._lock:
            old = dict(repo.commits)
            commit = self._commit(repo, self._blobs(files), None, title, repo.branches, branch)
            if drop_old:
                kept = {c.id for c in repo.tags.values()} | {c.id for c in repo.branches.values()}
                for sha in old.keys() - kept:
                    del repo.commits[sha]
            return commit.id

    def set_ref(self, repo, kind, name, revision):
        with self._lock:
            repo.refs_of(kind)[name] = repo.resolve(revision)

    def delete_ref(self, repo, kind, name):
        with self._lock:
            del repo.refs_of(kind)[name]

    def rename(self, repo, id):
        with self._lock:
            del self._repos[repo.type, repo.id]
            self._moved[repo.type, repo.id] = id
            self._moved.pop((repo.type, id), None)
            repo.id = id
            self._repos[repo.type, id] = repo

    def alias(self, type, old, new):
        self._moved[type, old] = new

    def delete(self, repo):
        with self._lock:
            repo.deleted = True
            del self._repos[repo.type, repo.id]

    def _blobs(self, files):
        return {path: self._store.put(path, content) for path, content in files.items()}

    def _commit(self, repo, files, parent, title, names, name):
        commit = build_commit(repo, files, parent, title)
        repo.commits[commit.id] = commit
        names[name] = commit
        return commit


def may_see(repo, user):
    if not repo.private:
        return True
    owner = repo.id.split("/")[0]
    return user is not None and (user.name == owner or owner in user.orgs or user.name in repo.allowed)


def may_read_files(repo, user):
    if not repo.gated:
        return True
    owner = repo.id.split("/")[0]
    return user is not None and (user.name == owner or owner in user.orgs or user.name in repo.granted)

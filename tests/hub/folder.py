# SPDX-License-Identifier: Apache-2.0
"""Repositories from a folder: DIR/models/ORG/NAME/… holds the files of main, or a hub.json and one
folder per commit (README.md says what it may hold)."""
import json
from fnmatch import fnmatch
from pathlib import Path

from .content import File
from .repos import User
from .routes import API_TYPES

NOT_CONTENT = {".git", ".cache", "hub.json"}
FLAGS = ("private", "gated", "disabled", "allowed", "granted", "long_ids")


def load(folder, repos):
    """Adds what is new in `folder` and pushes what has changed; a second call sees edits."""
    folder = Path(folder)
    top = read_json(folder / "hub.json")
    for token, user in top.get("tokens", {}).items():
        repos.users[token] = User(user["name"], tuple(user.get("orgs", ())), user.get("role", "read"))
    for plural, type in API_TYPES.items():
        for place in repo_folders(folder / plural):
            load_repo(repos, type, place.relative_to(folder / plural).as_posix(), place)


def read_json(path):
    return json.loads(path.read_text()) if path.exists() else {}


def repo_folders(place):
    """ORG/NAME; and NAME alone where it holds a file, since an organisation holds folders only."""
    for first in sorted(place.iterdir()) if place.is_dir() else ():
        if not first.is_dir():
            continue
        if any(each.is_file() for each in first.iterdir()):
            yield first
        else:
            yield from (each for each in sorted(first.iterdir()) if each.is_dir())


def files_below(place, manifest):
    found = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        if not path.is_file() or NOT_CONTENT & set(name.parts):
            continue
        name = name.as_posix()
        lfs = next((yes for pattern, yes in manifest.get("lfs", {}).items() if fnmatch(name, pattern)), None)
        found[name] = File(path, lfs, manifest.get("xet_hashes", {}).get(name))
    return found


def load_repo(repos, type, id, place):
    manifest = read_json(place / "hub.json")
    if "renamed_to" in manifest:
        repos.alias(type, id, manifest["renamed_to"])
        return
    options = {name: manifest[name] for name in FLAGS if name in manifest}
    repo = repos.find(type, id)
    if repo:
        for name, value in options.items():
            setattr(repo, name, set(value) if name in ("allowed", "granted") else value)
        if "commits" not in manifest:
            push_if_changed(repos, repo, files_below(place, manifest))
        return
    if "commits" not in manifest:
        repos.add(type, id, files_below(place, manifest), **options)
        return
    load_commits(repos, type, id, place, manifest, options)


def push_if_changed(repos, repo, files):
    before = repo.commit
    sha = repos.push(repo, files, replace=True, title="changed on disk")
    after = repo.commits[sha]
    if after.files == before.files:
        del repo.commits[sha]
        repo.branches["main"] = before


def load_commits(repos, type, id, place, manifest, options):
    ids, repo = {}, None
    for each in manifest["commits"]:
        each = {"dir": each} if isinstance(each, str) else each
        files = files_below(place / each["dir"], manifest)
        title = each.get("title", each["dir"])
        if repo is None:
            repo = repos.add(type, id, files, title, **options)
            ids[each["dir"]] = repo.head
        else:
            parent = ids[each["parent"]] if "parent" in each else repo.head
            ids[each["dir"]] = repos.push(repo, files, replace=True, title=title, parent=parent)
    for kind, key in (("branch", "branches"), ("tag", "tags"), ("pr", "pull_requests"), ("convert", "converts")):
        for name, commit in manifest.get(key, {}).items():
            repos.set_ref(repo, kind, name, ids.get(commit, commit))

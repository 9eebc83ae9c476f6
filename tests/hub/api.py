# SPDX-License-Identifier: Apache-2.0
"""The answers of /api: who, what, which refs, which files."""
import base64
import hashlib
import json
from urllib.parse import parse_qsl, quote, urlencode

from . import errors
from .repos import may_read_files, may_see
from .messages import Headers, Response, json_response

SAFE = {"status": "safe", "avScan": {"virusFound": False, "virusNames": None},
        "pickleImportScan": {"highestSafetyLevel": "innocuous", "imports": []}}


def stamp(date):
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def whoami(hub, call):
    if not call.user:
        raise errors.HubError(401, "Invalid username or password.")
    user = call.user
    return json_response({
        "type": "user", "id": user.id, "name": user.name, "fullname": user.name.title(), "isPro": False,
        "email": f"{user.name}@example.org", "emailVerified": True, "canPay": False, "periodEnd": None,
        "avatarUrl": "", "orgs": [{"type": "org", "id": hashlib.sha256(org.encode()).hexdigest()[:24],
                                   "name": org, "fullname": org.title(), "isEnterprise": False,
                                   "roleInOrg": "read"} for org in user.orgs],
        "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": user.role,
                                                         "createdAt": "2024-01-01T00:00:00.000Z"}}})


def auth_check(hub, call):
    if not may_read_files(call.repo, call.user):
        raise errors.gated(call.repo, call.user is None)
    return json_response({})


def info(hub, call):
    repo = call.repo
    commit = repo.resolve(call.route.revision) if call.route.revision else repo.commit
    first = min(repo.commits.values(), key=lambda each: each.date)
    whole = {
        "_id": hashlib.sha256(f"{repo.type}/{repo.id}".encode()).hexdigest()[:24], "id": repo.id,
        "author": repo.id.split("/")[0] if "/" in repo.id else None, "sha": commit.id,
        "lastModified": stamp(commit.date), "createdAt": stamp(first.date), "private": repo.private,
        "gated": repo.gated, "disabled": repo.disabled, "downloads": 0, "likes": 0, "tags": [],
        "siblings": [sibling(path, blob, call.route.flag("blobs")) for path, blob in commit.files.items()]}
    if repo.type == "model":
        whole["modelId"] = repo.id
    if call.route.flag("securityStatus"):
        whole["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
    wanted = call.route.args("expand")
    if wanted:
        whole = {key: value for key, value in whole.items() if key in ("_id", "id", *wanted)}
    return json_response(whole)


def sibling(path, blob, details):
    entry = {"rfilename": path}
    if details:
        entry |= {"size": blob.size, "blobId": blob.oid}
        if blob.sha256:
            entry["lfs"] = {"sha256": blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}
    return entry


def listing(hub, call):
    route = call.route
    found = [repo for repo in hub.repos.all() if repo.type == route.type and may_see(repo, call.user)
             and route.arg("search", "").lower() in repo.id.lower()
             and (not route.arg("author") or repo.id.startswith(route.arg("author") + "/"))]
    return json_response([{"_id": hashlib.sha256(repo.id.encode()).hexdigest()[:24], "id": repo.id,
                           "private": repo.private, "gated": repo.gated, "sha": repo.head, "tags": [],
                           "lastModified": stamp(repo.commit.date), "downloads": 0, "likes": 0}
                          for repo in sorted(found, key=lambda each: each.id)])


def refs(hub, call):
    repo = call.repo

    def listed(names, prefix, short=lambda name: name):
        return [{"name": short(name), "ref": prefix + name, "targetCommit": commit.id}
                for name, commit in names.items()]
    answer = {"tags": listed(repo.tags, "refs/tags/"), "branches": listed(repo.branches, "refs/heads/"),
              "converts": listed(repo.converts, "refs/convert/")}
    if call.route.flag("include_prs"):
        answer["pullRequests"] = listed(repo.pull_requests, "refs/pr/", lambda name: f"refs/pr/{name}")
    return json_response(answer)


def commits(hub, call):
    commit = call.repo.resolve(call.route.revision)
    found = []
    while commit:
        found.append({"id": commit.id, "title": commit.title, "message": "", "date": stamp(commit.date),
                      "authors": [{"user": "hub"}]})
        commit = commit.parent
    return json_response(found)


def file_entry(hub, commit, path, expand):
    blob = commit.files[path]
    entry = {"type": "file", "oid": blob.oid, "size": blob.size, "path": path}
    if blob.sha256:
        entry["lfs"] = {"oid": blob.sha256, "size": blob.size, "pointerSize": len(blob.pointer)}
        if hub.settings.lfs_oid == "sha256":
            entry["oid"] = blob.sha256
    if blob.xet_hash:
        entry["xetHash"] = blob.xet_hash
    if expand:
        entry |= {"lastCommit": last_commit(commit, path), "securityFileStatus": SAFE}
    return entry


def folder_entry(commit, path, expand):
    entry = {"type": "directory", "oid": commit.folders[path], "size": 0, "path": path}
    return entry | {"lastCommit": last_commit(commit, path)} if expand else entry


def last_commit(commit, path):
    last = commit.last_change(path)
    return {"id": last.id, "title": last.title, "date": stamp(last.date)}


def tree(hub, call):
    route, settings = call.route, hub.settings
    if settings.tree_slash_redirect and not route.path.endswith("/"):
        query = f"?{urlencode(route.query)}" if route.query else ""
        return Response(307, Headers([("Location", f"{call.request.origin}{route.path}/{query}")]))
    commit = call.repo.resolve(route.revision)
    prefix = f"{route.file}/" if route.file else ""
    if prefix and route.file not in commit.folders:
        raise errors.entry_not_found(f"{route.file} does not exist on \"{route.revision}\"", commit.id)
    recursive, expand = route.flag("recursive"), route.flag("expand")
    paths = [path for path in commit.files if path.startswith(prefix)]
    if settings.tree_directories or not recursive:
        paths += [path for path in commit.folders if path.startswith(prefix)]
    if not recursive:
        paths = [path for path in paths if "/" not in path[len(prefix):]]
    if settings.tree_order == "shuffled":
        paths.sort(key=lambda path: hashlib.sha1(path.encode()).digest())
    else:
        paths.sort()
    first, last, following = _page(hub, route, len(paths), expand)
    response = json_response([file_entry(hub, commit, path, expand) if path in commit.files
                              else folder_entry(commit, path, expand) for path in paths[first:last]])
    if following:
        origin = settings.link_origin or call.request.origin
        response.headers.set("Link", f'<{origin}{route.path}?{following}>; rel="next"')
    return response


def _page(hub, route, count, expand):
    """(first, last, the query of the next page or None)"""
    size = hub.settings.expand_page_size if expand else hub.settings.page_size
    if hub.settings.honour_limit and route.arg("limit", "").isdigit():
        size = max(1, min(size, int(route.arg("limit"))))
    first = 0
    if route.arg("cursor"):
        try:
            first = int(json.loads(base64.b64decode(route.arg("cursor").split(":")[0]))["at"])
        except (ValueError, KeyError, TypeError):
            raise errors.bad_request("Invalid cursor") from None
    last = first + size
    if last >= count:
        return first, count, None
    # With the characters that need care in a URL: + and / in base64, = and : after it.
    cursor = base64.b64encode(json.dumps({"at": last, "~": "?>?>"}).encode()).decode() + f":{size}"
    pairs = [(key, value) for key, value in route.query if key != "cursor"] + [("cursor", cursor)]
    return first, last, urlencode(pairs, quote_via=quote)


def paths_info(hub, call):
    commit = call.repo.resolve(call.route.revision)
    kind = call.request.headers.get("Content-Type", "")
    if kind.startswith("application/json"):
        if not hub.settings.json_paths_info:
            raise errors.HubError(422, "Unprocessable Entity")
        try:
            asked = json.loads(call.request.body)
            paths, expand = asked["paths"], bool(asked.get("expand"))
        except (ValueError, KeyError, TypeError):
            raise errors.bad_request("Invalid body") from None
        paths = [paths] if isinstance(paths, str) else paths
    else:
        form = parse_qsl(call.request.body.decode("utf-8", "replace"), keep_blank_values=True)
        paths = [value for key, value in form if key in ("paths", "paths[]")]
        expand = any(key == "expand" and value.lower() not in ("false", "0", "") for key, value in form)
    found = []
    for path in paths:
        path = path.strip("/")
        if path in commit.files:
            found.append(file_entry(hub, commit, path, expand))
        elif path in commit.folders:
            found.append(folder_entry(commit, path, expand))
    return json_response(found)


ROUTES = {"whoami": whoami, "auth-check": auth_check, "info": info, "list": listing, "refs": refs,
          "commits": commits, "tree": tree, "paths-info": paths_info}

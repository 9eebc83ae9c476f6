# SPDX-License-Identifier: Apache-2.0
"""Files: what HEAD tells of them, where GET is sent, and the bytes that this server sends itself."""
import base64
import hashlib
import re
import time
from urllib.parse import quote

from . import errors
from .repos import may_read_files
from .messages import Headers, Response, Slice, json_response, text_response

FULL_ID = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
RANGE = re.compile(r"bytes=(\d*)-(\d*)")
XET_TYPE = "application/vnd.xet-fileinfo+json"


def resolve(hub, call):
    settings = hub.settings
    commit, blob = find_file(call)
    etag = quoted(settings, blob.etag)
    asked = call.request.headers.get("If-None-Match")
    if asked and normal(asked) == blob.etag:
        return Response(304, Headers([("X-Repo-Commit", commit.id), ("ETag", etag)]))
    if blob.xet_hash and XET_TYPE in call.request.headers.get("Accept", ""):
        return xet_info(hub, call, commit, blob)
    call.entry.blob = blob.etag
    if not blob.sha256:
        return redirect_git(hub, call, commit, blob) if settings.git_files == "redirect" else \
            direct(hub, call, commit, blob)
    if settings.bytes == "direct":
        return direct(hub, call, commit, blob)
    return redirect_lfs(hub, call, commit, blob)


def find_file(call):
    if not may_read_files(call.repo, call.user):
        raise errors.gated(call.repo, call.user is None)
    commit = call.repo.resolve(call.route.revision)
    if call.route.file not in commit.files:
        raise errors.entry_not_found("Entry not found", commit.id)
    return commit, commit.files[call.route.file]


def redirect_git(hub, call, commit, blob):
    repo, path = call.repo, quote(call.route.file, safe="")
    mark = quote(call.route.path, safe="") + "="
    location = (f"/api/resolve-cache/{repo.type}s/{repo.id}/{commit.id}/{path}"
                f"?{mark}&etag={quote(quoted(hub.settings, blob.etag), safe='')}")
    response = text_response(f"Temporary Redirect. Redirecting to {location}", 307)
    response.headers.pairs += [("Location", location), ("X-Repo-Commit", commit.id), ("Accept-Ranges", "bytes")]
    if hub.settings.linked_on_git:
        add_linked(hub, response, blob)
    return response


def redirect_lfs(hub, call, commit, blob):
    location = hub.sign(blob, call.route.file)
    response = text_response(f"Found. Redirecting to {location}", 302)
    response.headers.pairs += [("Location", location), ("X-Repo-Commit", commit.id), ("Accept-Ranges", "bytes")]
    add_linked(hub, response, blob)
    add_xet(call, response, commit, blob)
    return response


def add_linked(hub, response, blob):
    if hub.settings.linked_headers:
        response.headers.add("X-Linked-Size", blob.size)
        response.headers.add("X-Linked-Etag", quoted(hub.settings, blob.etag))


def add_xet(call, response, commit, blob):
    if blob.xet_hash:
        base = call.request.origin
        response.headers.add("X-Xet-Hash", blob.xet_hash)
        response.headers.add("Link", f'<{base}/api/{call.repo.type}s/{call.repo.id}/xet-read-token/{commit.id}>; '
                             f'rel="xet-auth", <{base}/v1/reconstructions/{blob.xet_hash}>; '
                             'rel="xet-reconstruction-info"')


def xet_info(hub, call, commit, blob):
    response = json_response({"hash": blob.xet_hash, "size": blob.size, "etag": quoted(hub.settings, blob.etag),
                              "refreshUrl": f"{call.request.origin}/api/{call.repo.type}s/{call.repo.id}"
                                            f"/xet-read-token/{commit.id}"})
    response.headers.set("Content-Type", XET_TYPE)
    response.headers.add("X-Repo-Commit", commit.id)
    response.headers.add("ETag", quoted(hub.settings, blob.etag))
    add_linked(hub, response, blob)
    add_xet(call, response, commit, blob)
    return response


def direct(hub, call, commit, blob):
    response = body_of(hub, call, blob)
    response.headers.add("X-Repo-Commit", commit.id)
    response.headers.add("ETag", quoted(hub.settings, blob.etag))
    if blob.sha256:
        add_linked(hub, response, blob)
    add_xet(call, response, commit, blob)
    return response


def cache(hub, call):
    """The second hop of a git file: full ids only. Old clients drop the query that the redirect names."""
    if not FULL_ID.fullmatch(call.route.revision):
        raise errors.bad_request("Invalid commit id")
    commit, blob = find_file(call)
    told = call.route.arg("etag")
    if hub.settings.strict_query if told is None else normal(told) != blob.etag:
        raise errors.bad_request("Missing or wrong etag in the query")
    return direct(hub, call, commit, blob)


def raw(hub, call):
    commit, blob = find_file(call)
    if blob.sha256:
        response = text_response(blob.pointer.decode())
    else:
        response = body_of(hub, call, blob)
    response.headers.add("X-Repo-Commit", commit.id)
    return response


def stored(hub, call):
    """LFS bytes by signed URL, as the byte origin sends them; used where nginx does not."""
    sha256, query = call.route.file, call.route
    path = hub.store.objects / sha256
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not path.exists():
        return text_response("Not Found", 404)
    expires = query.arg("Expires", "0")
    if query.arg("Signature") != signature(hub.secret, expires, query.path) or float(expires) < time.time():
        return text_response("Access Denied", hub.settings.expired_status)
    call.entry.blob = sha256
    return ranged(hub, call, path, path.stat().st_size)


def signature(secret, expires, path):
    """What nginx's secure_link_md5 "$secure_link_expires$uri SECRET" expects."""
    digest = hashlib.md5(f"{expires}{path} {secret}".encode()).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def signed_url(origin, secret, sha256, name, ttl):
    path = f"/lfs/{sha256[:2]}/{sha256[2:4]}/{sha256}"
    expires = int(time.time() + ttl)
    disposition = quote(f"inline; filename*=UTF-8''{quote(name.split('/')[-1])};", safe="")
    return (f"{origin}{path}?response-content-disposition={disposition}&Expires={expires}&Policy=eyJ_"
            f"&Signature={signature(secret, expires, path)}&Key-Pair-Id=K24J24Z295AEI9")


def body_of(hub, call, blob):
    call.entry.blob = blob.etag
    return ranged(hub, call, blob.path, blob.size)


def ranged(hub, call, path, size):
    headers = Headers([("Content-Type", "application/octet-stream")])
    found = RANGE.fullmatch(call.request.headers.get("Range", "").strip())
    if not hub.settings.ranges or not found or found.groups() == ("", ""):
        if hub.settings.ranges:
            headers.add("Accept-Ranges", "bytes")
        return Response(200, headers, Slice(path, 0, size))
    headers.add("Accept-Ranges", "bytes")
    first, last = found.groups()
    if first:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
    else:
        start, end = max(0, size - int(last)), size - 1
    if start >= size or end < start:
        headers.add("Content-Range", f"bytes */{size}")
        return Response(416, headers)
    headers.add("Content-Range", f"bytes {start}-{end}/{size}")
    return Response(206, headers, Slice(path, start, end - start + 1))


def quoted(settings, etag):
    return etag if not settings.etag_quotes else f'"{etag}"'


def normal(etag):
    return etag.strip().removeprefix("W/").strip('"')


def xet_token(hub, call):
    raise errors.no_route()


ROUTES = {"resolve": resolve, "raw": raw, "cache": cache, "xet-token": xet_token}

# SPDX-License-Identifier: Apache-2.0
"""From a request target to what it asks for."""
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

API_TYPES = {"models": "model", "datasets": "dataset", "spaces": "space", "kernels": "kernel"}
FILE_TYPES = {"datasets": "dataset", "spaces": "space", "kernels": "kernel"}
# The last word of a repository's API, and whether a revision follows it.
VERBS = {"revision": True, "tree": True, "paths-info": True, "commits": True, "xet-read-token": True,
         "refs": False, "auth-check": False}
API_KINDS = {"whoami", "auth-check", "info", "refs", "tree", "paths-info", "commits", "list", "xet-token"}


@dataclass
class Route:
    kind: str
    path: str  # still percent-encoded
    query: list
    type: str = ""
    repo: str = ""
    revision: str = ""
    file: str = ""
    rest: str = ""  # what follows the repository, still encoded: a rename keeps it

    def arg(self, name, default=None):
        return next((value for key, value in self.query if key == name), default)

    def args(self, name):
        return [value for key, value in self.query if key in (name, name + "[]")]

    def flag(self, name):
        return self.arg(name, "false").lower() not in ("false", "0", "")


def parse(target, exists):
    """`exists(type, id)` settles whether a/refs is a repository or the refs of repository a."""
    if target.startswith(("http://", "https://")):
        target = "/" + target.split("/", 3)[3] if target.count("/") >= 3 else "/"
    raw, _, query = target.partition("?")
    route = Route("other", raw, parse_qsl(query, keep_blank_values=True))
    segments = raw.split("/")[1:]
    if segments[0] == "_test":
        route.kind = "control"
    elif segments[0] == "lfs":
        route.kind, route.file = "bytes", segments[-1]
    elif segments[0] == "api":
        _parse_api(route, segments[1:], exists)
    else:
        _parse_file(route, segments)
    return route


def _parse_api(route, segments, exists):
    if segments[:1] == ["whoami-v2"]:
        route.kind = "whoami"
    elif segments[:1] == ["telemetry"]:
        route.kind = "telemetry"
    elif segments[:1] == ["resolve-cache"] and len(segments) >= 5 and segments[1] in API_TYPES:
        # …/TYPE/NS/NAME/SHA/PATH, or …/TYPE/NAME/SHA/PATH for a bare name
        at = 4 if exists(API_TYPES[segments[1]], "/".join(segments[2:4])) else 3
        route.kind, route.type = "cache", API_TYPES[segments[1]]
        route.repo = "/".join(map(unquote, segments[2:at]))
        route.revision, route.file = unquote(segments[at]), unquote("/".join(segments[at + 1:]))
    elif segments and segments[0] in API_TYPES:
        route.type = API_TYPES[segments[0]]
        _parse_repo_api(route, segments[1:], exists)


def _parse_repo_api(route, segments, exists):
    if not segments or segments == [""]:
        route.kind = "list"
        return
    words = 2
    if len(segments) == 1 or (segments[1] in VERBS and not exists(route.type, "/".join(segments[:2]))):
        words = 1
    route.repo = "/".join(map(unquote, segments[:words]))
    rest = segments[words:]
    route.rest = "".join("/" + each for each in rest)
    if not rest or rest == [""]:
        route.kind = "info"
        return
    verb = rest[0]
    if verb not in VERBS:
        return
    route.kind = {"revision": "info", "xet-read-token": "xet-token"}.get(verb, verb)
    if VERBS[verb]:
        route.revision, route.file = _revision(rest[1:])
        if not route.revision:
            route.kind = "other"


def _parse_file(route, segments):
    type = "model"
    if segments[0] in FILE_TYPES:
        type, segments = FILE_TYPES[segments[0]], segments[1:]
    for at in (2, 1):
        if len(segments) > at + 1 and segments[at] in ("resolve", "raw"):
            route.kind, route.type = segments[at], type
            route.repo = "/".join(map(unquote, segments[:at]))
            route.rest = "".join("/" + each for each in segments[at:])
            route.revision, route.file = _revision(segments[at + 1:])
            return


def _revision(segments):
    """One segment on the wire, but refs/pr/1 is understood unencoded too."""
    taken = 3 if segments[:1] == ["refs"] and segments[1:2] in (["pr"], ["convert"], ["heads"], ["tags"]) else 1
    return unquote("/".join(segments[:taken])), unquote("/".join(segments[taken:])).strip("/")

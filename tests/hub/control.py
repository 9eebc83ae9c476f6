# SPDX-License-Identifier: Apache-2.0
"""The control API under /_test: everything that Python tests can do, for tests in other languages."""
import base64
import json
import threading

from .content import File, Random, Sparse
from .messages import json_response


def answer(hub, request, route):
    name = route.path.removeprefix("/_test").strip("/")
    try:
        body = json.loads(request.body) if request.body else {}
        if request.method == "GET" and name in READS:
            return json_response(READS[name](hub, dict(route.query)))
        if request.method == "POST" and name in WRITES:
            return json_response(WRITES[name](hub, **body))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return json_response({"error": f"{type(error).__name__}: {error}"}, 400)
    return json_response({"error": f"no {request.method} {name}", "reads": sorted(READS),
                          "writes": sorted(WRITES)}, 404)


def contents(files):
    """{"path": "text" | {"base64": …} | {"sparse": SIZE, "seed": …} | {"random": SIZE, …}}, each with lfs, xet_hash."""
    found = {}
    for path, spec in files.items():
        if isinstance(spec, str):
            found[path] = spec
            continue
        if "base64" in spec:
            content = base64.b64decode(spec["base64"])
        elif "sparse" in spec:
            content = Sparse(spec["sparse"], spec.get("seed", 0))
        elif "random" in spec:
            content = Random(spec["random"], spec.get("seed", 0))
        else:
            content = spec["text"]
        found[path] = File(content, spec.get("lfs"), spec.get("xet_hash"))
    return found


def log(hub, query):
    wanted = {key: int(value) if value.isdigit() else value for key, value in query.items()}
    return {"hub": [each.as_dict() for each in hub.requests(**wanted)],
            "origin": [each.as_dict() for each in hub.origin_requests(**wanted)]}


def repo_state(hub, query):
    repo = hub.repo(query["repo"])
    return {"id": repo.id, "type": repo.type, "private": repo.private, "gated": repo.gated,
            **{kind: {name: commit.id for name, commit in repo.refs_of(kind).items()}
               for kind in ("branch", "tag", "pr", "convert")},
            "files": {path: {"etag": blob.etag, "size": blob.size} for path, blob in repo.commit.files.items()}}


def add_repo(hub, type, id, files, **options):
    return {"id": id, "commit": hub.add_repo(type, id, contents(files), **options).head}


def push(hub, repo, files, **options):
    return {"commit": hub.push(repo, contents(files), **options)}


def force_push(hub, repo, files, **options):
    return {"commit": hub.force_push(repo, contents(files), **options)}


def add_pr(hub, repo, files, **options):
    number, commit = hub.add_pr(repo, contents(files), **options)
    return {"number": number, "commit": commit}


def done(action):
    def act(hub, **options):
        action(hub, **options)
        return {"ok": True}
    return act


def settings(hub, **values):
    for name, value in values.items():
        setattr(hub.settings, name, value)


def add_fault(hub, name, **options):
    return hub.faults.add(name, **options).as_dict()


def down(hub, origin=False, seconds=None):
    """Through the control port it can be ended; through the hub's own only `seconds` end it."""
    def fall():
        hub.down(origin)
        if seconds is not None:
            timer = threading.Timer(seconds, hub.up)
            timer.daemon = True
            timer.start()
    # After the answer: the connection that asked may be the hub's own.
    later = threading.Timer(0.05, fall)
    later.daemon = True
    later.start()


READS = {"": lambda hub, query: hub.describe(), "log": log, "counters": lambda hub, query: hub.counters(),
         "faults": lambda hub, query: hub.faults.list(), "repo": repo_state}
WRITES = {
    "log/clear": done(lambda hub: hub.clear_log()), "faults": add_fault,
    "faults/clear": done(lambda hub: hub.faults.clear()), "settings": done(settings),
    "limits": done(lambda hub, **quotas: hub.limits.set(**quotas)),
    "limits/clear": done(lambda hub: hub.limits.clear()),
    "repos/add": add_repo, "repos/push": push, "repos/force-push": force_push, "repos/add-pr": add_pr,
    "repos/add-tag": done(lambda hub, **named: hub.add_tag(**named)),
    "repos/add-branch": done(lambda hub, **named: hub.add_branch(**named)),
    "repos/delete-ref": done(lambda hub, **named: hub.delete_ref(**named)),
    "repos/rename": done(lambda hub, **named: hub.rename(**named)),
    "repos/delete": done(lambda hub, **named: hub.delete_repo(**named)),
    "repos/set-private": done(lambda hub, **named: hub.set_private(**named)),
    "repos/set-gated": done(lambda hub, **named: hub.set_gated(**named)),
    "repos/set-disabled": done(lambda hub, **named: hub.set_disabled(**named)),
    "users/add": lambda hub, **named: {"token": hub.add_user(**named)},
    "users/revoke": done(lambda hub, token: hub.revoke_token(token)),
    "urls/expire": done(lambda hub: hub.expire_urls()),
    "origin/rate": done(lambda hub, bytes_per_second: hub.set_origin_rate(bytes_per_second)),
    "origin/down": done(lambda hub: hub.origin_down()), "origin/up": done(lambda hub: hub.origin_up()),
    "down": done(down), "up": done(lambda hub: hub.up()), "reload": done(lambda hub: hub.reload()),
}

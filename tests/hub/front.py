# SPDX-License-Identifier: Apache-2.0
"""From request to answer: who asks, for which repository, within which limits, with which faults."""
import uuid

from . import api, control, errors, resolve
from .repos import may_see
from .routes import API_KINDS, FILE_TYPES, parse
from .messages import Headers, Response, Slice, json_response, text_response

HANDLERS = {**api.ROUTES, **resolve.ROUTES}


class Call:
    """One request on its way through."""

    def __init__(self, request, route, entry):
        self.request, self.route, self.entry = request, route, entry
        self.user = self.repo = None


class Unlogged:
    def sent(self, count):
        pass

    def finish(self):
        pass


class Front:
    """The half of Hub that answers; it uses repos, settings, faults, limits and log."""

    def answer(self, request):
        route = parse(request.target, lambda type, id: self.repos.find(type, id) is not None
                      or self.repos.find_moved(type, id) is not None)
        if route.kind == "control" and request.listener != "bytes":
            return control.answer(self, request, route), Unlogged()
        if (request.listener == "bytes") != (route.kind == "bytes") or request.listener == "control":
            route.kind = "other"
        call = Call(request, route, self.log.start(request, route))
        response = self.faults.apply(call, self._answer(call), lambda: self._answer_whole(call))
        call.entry.status = response.status
        return response, call.entry

    def _answer(self, call):
        if call.route.kind == "bytes":
            response = resolve.stored(self, call)
        else:
            response = self._answer_hub(call)
        call.entry.content = call.request.method == "GET" and isinstance(response.body, Slice)
        return response

    def _answer_whole(self, call):
        held, call.request.headers = call.request.headers, Headers(call.request.headers.pairs)
        call.request.headers.drop("Range")
        try:
            return self._answer(call)
        finally:
            call.request.headers = held

    def _answer_hub(self, call):
        token = call.request.headers.get("Authorization")
        allowed, told = self.limits.take(call.route.kind, token or "address", token is not None)
        try:
            response = self._refuse_rate(call) if not allowed else self._route(call)
        except errors.HubError as error:
            response = self._refuse(call, error)
        response.headers.pairs += told
        response.headers.add("X-Request-Id", f"Root=1-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:24]}")
        response.headers.add("X-Powered-By", "huggingface-moon")
        return response

    def _route(self, call):
        route = call.route
        call.user = self._user(call)
        if route.kind in self.settings.absent_routes:
            return text_response("Not Found", 404)
        if route.kind == "telemetry":
            return Response(200)
        if route.kind not in HANDLERS or (call.request.method == "POST") != (route.kind == "paths-info"):
            raise errors.no_route()
        if route.repo:
            call.repo, moved = self._repo(call)
            if moved:
                return moved
        return HANDLERS[route.kind](self, call)

    def _user(self, call):
        header = call.request.headers.get("Authorization", "")
        if not header:
            return None
        user = self.repos.users.get(header.removeprefix("Bearer ").strip())
        if not user:
            raise errors.bad_credentials()
        call.entry.user = user.name
        return user

    def _repo(self, call):
        """(the repository, a redirect instead where it has moved)"""
        route = call.route
        repo, moved = self.repos.find(route.type, route.repo), None
        if not repo and (new := self.repos.find_moved(route.type, route.repo)):
            repo = self.repos.find(route.type, new)
            if repo and route.kind in API_KINDS:
                moved = f"/api/{route.type}s/{new}{route.rest}"
            elif repo and self.settings.resolve_renamed == "redirect":
                moved = f"{self._prefix(route.type)}/{new}{route.rest}"
        if not repo or not may_see(repo, call.user):
            raise errors.repo_not_found(call.user is None, self.settings.missing_coded)
        if repo.disabled:
            raise errors.disabled()
        if not moved:
            return repo, None
        query = call.request.target.partition("?")[2]
        location = self.settings.link_origin + moved + (f"?{query}" if query else "")
        answer = text_response(f"Temporary Redirect. Redirecting to {location}", 307)
        answer.headers.add("Location", location)
        return repo, answer

    @staticmethod
    def _prefix(type):
        return f"/{type}s" if f"{type}s" in FILE_TYPES else ""

    def _refuse(self, call, error):
        response = json_response({"error": error.message}, error.status) if call.request.target.startswith("/api/") \
            else text_response(error.message, error.status)
        if error.code:
            response.headers.add("X-Error-Code", error.code)
        response.headers.add("X-Error-Message", error.message)
        response.headers.pairs += error.headers
        return response

    def _refuse_rate(self, call):
        return self._refuse(call, errors.HubError(429, "We had to rate limit you. Please retry later."))


def group_of(entry):
    if entry.kind in API_KINDS:
        return "api"
    if entry.kind in ("resolve", "cache") and entry.method == "HEAD":
        return "head"
    if entry.content:
        return "content"
    if entry.kind == "resolve" and entry.status and 300 <= entry.status < 400:
        return "redirect"
    return "other"

# SPDX-License-Identifier: Apache-2.0
"""The same script on a plain cache that has everything and on a mount, side by side."""
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from client import by_clients


class Pair:
    def __init__(self, got, wanted, content):
        self.got, self.wanted, self.content = got, wanted, content

    def check(self, may_fail=()):
        """Same results, same words, nothing fetched by the client, and no step failed.

        may_fail: steps that the client cannot do on a plain cache either; then it must fail alike."""
        problems = {}
        assert self.wanted.results, self.wanted.stderr
        for step, wanted in self.wanted.results.items():
            assert ("error" in wanted) == (step in may_fail), f"{step} on a plain cache: {wanted}"
            got, want = self._comparable(self.got, step), self._comparable(self.wanted, step)
            if got != want:
                problems[step] = {"got": got, "wanted": want, "said": self.got.said(step)}
            elif self.got.said(step) != self.wanted.said(step):
                problems[step] = {"said": self.got.said(step), "says on a plain cache": self.wanted.said(step)}
        assert problems == {}
        assert self.content == []
        assert self.got.said("") == self.wanted.said("")

    @staticmethod
    def _comparable(outcome, step):
        said = dict(outcome[step])
        if "error" in said:
            return {"error": said["error"]}
        if "path" in said:
            said["path"] = outcome.relative(step)
        return said


@contextmanager
def hub_as(hub, mode):
    """mode: "down" for the length of the block, else as it is."""
    if mode == "down":
        hub.down(origin=True)
    try:
        yield
    finally:
        if mode == "down":
            hub.up()


def fill(client, script, cache, request=None, variable="HF_HUB_CACHE", by="variable"):
    """Downloads what `script` asks for into the plain cache at `cache`."""
    if cache.exists():
        return cache
    cache.mkdir()
    done = client.run(script, *_asked(request or {}, cache, variable, by))
    failed = {step: said for step, said in done.results.items() if "error" in said}
    assert not failed, f"{failed}\n{done.stderr}"
    return cache


def run_both(client, script, mount, plain, mode="online", request=None, variable="HF_HUB_CACHE", by="variable"):
    """by: "variable", or "cache_dir" for scripts that heed it in their request."""
    hub = client.hub
    hub.clear_log()
    with hub_as(hub, mode), ThreadPoolExecutor(2) as pool:
        wanted, got = pool.map(
            lambda cache: client.run(script, *_asked(request or {}, cache, variable, by), offline=mode == "offline"),
            (plain, mount.point))
    return Pair(got, wanted, by_clients(hub.content_requests()))


def _asked(request, cache, variable, by):
    if by == "cache_dir":
        return {**request, "cache_dir": str(cache)}, cache, {}
    return request, cache, {variable: str(cache)}


def content_of(folder):
    """What is below a folder, as the hub takes it."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}

# SPDX-License-Identifier: Apache-2.0
"""Hub: the server and everything that tests steer it by."""
import secrets
import tempfile
import threading
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from . import certs, folder as folders, resolve
from .content import BlobStore, HashCache, remove_tree
from .faults import Faults
from .front import Front, group_of
from .limits import RateLimits
from .log import RequestLog, matches
from .nginx import Nginx
from .repos import Repos, User
from .server import Listener
from .settings import Settings

HASHES = ".hub-hashes.json"


class Hub(Front):
    """See README.md. `folder`: repositories to begin with. `settings`: any of Settings by name."""

    def __init__(self, folder=None, *, nginx=True, port=0, host="127.0.0.1", tls=False, origin_tls=True,
                 names=(), log_file=None, cache=None, **settings):
        self._root = Path(tempfile.mkdtemp(prefix="hffs-hub-"))
        try:
            self._build(folder, nginx, port, host, tls, origin_tls, names, log_file, cache, settings)
        except BaseException:
            remove_tree(self._root)
            raise

    def _build(self, folder, nginx, port, host, tls, origin_tls, names, log_file, cache, settings):
        self.folder = Path(folder) if folder else None
        hashes = Path(cache) / HASHES if cache else self.folder / HASHES if self.folder else None
        self.store = BlobStore(self._root, HashCache(hashes))
        self.repos = Repos(self.store)
        self.settings = Settings(**{"bytes": "nginx" if nginx else "hub", **settings})
        self.faults, self.limits, self.log = Faults(), RateLimits(), RequestLog(log_file)
        self.secret = secrets.token_hex(16)
        made = certs.make(self._root / "tls", names) if tls or (nginx and origin_tls) else None
        self.ca_file = str(made.authority) if made else None
        self.nginx = Nginx(self._root / "nginx", self._root, self.store.objects, self.secret,
                           made if origin_tls else None, host) if nginx else None
        self._listener = Listener("hub", self.answer, port, host, made.server_context() if tls else None)
        self._bytes = Listener("bytes", self.answer, 0, host)
        self._control = Listener("control", self.answer, 0, host)
        self._merged = 0
        self._merging = threading.Lock()
        if self.folder:
            folders.load(self.folder, self.repos)

    # ---- life

    def start(self):
        for listener in (self._listener, self._bytes, self._control):
            listener.open()
        if self.nginx:
            self.nginx.start()
        return self

    def stop(self):
        self.faults.clear()
        for listener in (self._listener, self._bytes, self._control):
            listener.close(hold=False)
        if self.nginx:
            self.nginx.stop()
            self._merge_origin()
        self.log.close()
        remove_tree(self._root)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    @property
    def endpoint(self):
        return self._listener.origin

    @property
    def control_endpoint(self):
        """The control API on a port of its own, which stays when the hub is down."""
        return self._control.origin

    @property
    def origin_endpoint(self):
        return self.nginx.origin if self.settings.bytes == "nginx" and self.nginx else self._bytes.origin

    def env(self):
        """What a client's environment needs to use this Hub and no other."""
        names = {"HF_ENDPOINT": self.endpoint, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1",
                 "NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
        if self.ca_file:
            names |= dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
                                    "NODE_EXTRA_CA_CERTS"), self.ca_file)
        return names

    def down(self, origin=False):
        """Connections are refused and open ones dropped; `origin`: those for LFS bytes too."""
        self._listener.close()
        if origin:
            self.origin_down()

    def up(self):
        self._listener.open()
        self.origin_up()

    def origin_down(self):
        self._bytes.close()
        if self.nginx:
            self.nginx.stop(hold=True)

    def origin_up(self):
        self._bytes.open()
        if self.nginx:
            self.nginx.start()

    # ---- repositories

    def add_repo(self, type, id, files=None, **options):
        """type: model, dataset, space or kernel. Options: title, private, gated, disabled, allowed, granted."""
        return self.repos.add(type, id, files or {}, **options)

    def repo(self, name):
        return self.repos.get(name)

    def push(self, repo, files, branch="main", **options):
        """A new commit: `files` over what the branch holds. Options: delete, replace, title, parent."""
        return self.repos.push(self.repo(repo), files, name=branch, **options)

    def force_push(self, repo, files, branch="main", **options):
        return self.repos.force_push(self.repo(repo), files, branch, **options)

    def add_tag(self, repo, name, revision="main"):
        self.repos.set_ref(self.repo(repo), "tag", name, revision)

    def add_branch(self, repo, name, revision="main"):
        self.repos.set_ref(self.repo(repo), "branch", name, revision)

    def delete_ref(self, repo, kind, name):
        """kind: branch, tag, pr or convert."""
        self.repos.delete_ref(self.repo(repo), kind, name)

    def add_pr(self, repo, files, number=None, **options):
        """(number, commit) of a pull request: refs/pr/NUMBER."""
        repo = self.repo(repo)
        number = str(number or len(repo.pull_requests) + 1)
        return int(number), self.repos.push(repo, files, kind="pr", name=number, **options)

    def add_convert(self, repo, name, files):
        return self.repos.push(self.repo(repo), files, kind="convert", name=name, replace=True)

    def rename(self, repo, id):
        self.repos.rename(self.repo(repo), id)

    def delete_repo(self, repo):
        self.repos.delete(self.repo(repo))

    def set_private(self, repo, private=True, allowed=()):
        repo = self.repo(repo)
        repo.private, repo.allowed = private, set(allowed)

    def set_gated(self, repo, gated="auto", granted=()):
        repo = self.repo(repo)
        repo.gated, repo.granted = gated, set(granted)

    def set_disabled(self, repo, disabled=True):
        self.repo(repo).disabled = disabled

    def add_user(self, name, token=None, orgs=(), role="read"):
        """The user's token."""
        token = token or f"hf_{name}"
        self.repos.users[token] = User(name, tuple(orgs), role)
        return token

    def revoke_token(self, token):
        self.repos.users.pop(token, None)

    def reload(self):
        """Takes in what has changed in the folder."""
        folders.load(self.folder, self.repos)

    # ---- what was asked

    def requests(self, **wanted):
        """Requests to the hub itself, each an Entry: requests(kind="tree", path="*limit=*", status=200)."""
        return self.log.entries(listener="hub", **wanted)

    def origin_requests(self, **wanted):
        """Requests for LFS bytes, at nginx or at the hub's byte port."""
        found = self.log.entries(listener="bytes")
        if self.nginx:
            self._merge_origin()
            found = found + list(self.nginx.entries)
        return sorted((each for each in found if matches(each, wanted)), key=lambda each: each.time)

    def content_requests(self, **wanted):
        """Every GET that was answered with bytes of a file, wherever; each has blob, range and bytes."""
        found = self.requests(content=True) + self.origin_requests(content=True)
        return sorted((each for each in found if matches(each, wanted)), key=lambda each: each.time)

    def wait_request(self, count=1, timeout=10, **wanted):
        """Waits for requests to the hub to arrive (not to be answered)."""
        return self.log.wait(count, timeout, **wanted)

    def counters(self):
        counts = Counter(api=0, head=0, redirect=0, content=0, content_bytes=0, origin=0, origin_bytes=0, other=0)
        for entry in self.requests():
            counts[entry.kind if entry.kind == "whoami" else group_of(entry)] += 1
            if entry.content:
                counts["content_bytes"] += entry.bytes
        for entry in self.origin_requests():
            counts["origin"] += 1
            counts["origin_bytes"] += entry.bytes
        counts["api"] += counts["whoami"]
        counts["total"] = len(self.requests())
        return dict(counts)

    def clear_log(self):
        if self.nginx:
            self._merge_origin()
            with self._merging:
                self.nginx.entries.clear()
                self._merged = 0
        self.log.clear()

    def _merge_origin(self):
        """nginx's lines, into the log file too."""
        with self._merging:
            entries = self.nginx.read_log()
            for entry in entries[self._merged:]:
                self.log.write(entry.as_dict())
            self._merged = len(entries)

    # ---- signed URLs

    def sign(self, blob, name):
        origin = self.settings.bytes_link or self.origin_endpoint
        return resolve.signed_url(origin, self.secret, blob.sha256, name, self.settings.url_ttl)

    def expire_urls(self):
        """No URL signed so far is good any longer."""
        self.secret = secrets.token_hex(16)
        if self.nginx:
            self.nginx.secret = self.secret
            self.nginx.reload()

    def set_origin_rate(self, bytes_per_second=0):
        """nginx's limit per connection; 0: none."""
        self.nginx.rate = bytes_per_second
        self.nginx.reload()

    def describe(self):
        return {"endpoint": self.endpoint, "control": self.control_endpoint, "origin": self.origin_endpoint,
                "ca_file": self.ca_file, "settings": asdict(self.settings)}

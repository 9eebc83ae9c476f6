# SPDX-License-Identifier: Apache-2.0
"""Fixed-window rate limits, per token or per address, told on every answer."""
import threading
import time

RESOURCES = {"resolve": "resolvers", "raw": "resolvers"}
UNLIMITED = 1_000_000


class RateLimits:
    """Off until set(): then the quotas are real. `token_*`: what a request with a token may have."""

    def __init__(self):
        self._lock = threading.Lock()
        self._used = {}
        self.clear()

    def clear(self):
        with self._lock:
            self._quotas, self.window, self._used = {}, 300, {}

    def set(self, api=None, resolve=None, window=300, token_api=None, token_resolve=None, whoami=None):
        with self._lock:
            self.window = window
            self._used = {}
            self._quotas = {("api", False): api, ("api", True): token_api or api,
                            ("resolvers", False): resolve, ("resolvers", True): token_resolve or resolve,
                            ("whoami", False): whoami, ("whoami", True): whoami}

    def take(self, kind, client, with_token):
        """Counts a request: (allowed, the headers that tell). Only named kinds cost anything."""
        resource = RESOURCES.get(kind, "api")
        if kind == "whoami" and self._quotas.get(("whoami", with_token)):
            resource = "whoami"
        with self._lock:
            quota = self._quotas.get((resource, with_token)) or UNLIMITED
            now = time.time()
            began = now - now % self.window
            key = (resource, client)
            used = self._used.get(key, (began, 0))
            used = used[1] if used[0] == began else 0
            free = kind in ("cache", "bytes", "control", "other", "telemetry")
            allowed = free or used < quota
            if allowed and not free:
                used += 1
            self._used[key] = (began, used)
            left = int(began + self.window - now) + 1
        return allowed, [("RateLimit", f'"{resource}";r={max(0, quota - used)};t={left}'),
                         ("RateLimit-Policy", f'"fixed window";"{resource}";q={quota};w={int(self.window)}')]

# SPDX-License-Identifier: Apache-2.0
"""A bare HTTP client that follows nothing and forgives nothing."""
import http.client
import json
import ssl
from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    url: str

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        return self.headers.get("X-Error-Code")

    @property
    def location(self):
        return urljoin(self.url, self.headers["Location"])


class Probe:
    def __init__(self, endpoint, ca_file=None, timeout=10):
        self.endpoint, self.timeout = endpoint, timeout
        self._context = ssl.create_default_context(cafile=ca_file) if ca_file else None

    def __call__(self, target, method="GET", token=None, body=None, **headers):
        """`headers` by keyword, with _ for -; `target` a path of the endpoint or a whole URL."""
        url = urljoin(self.endpoint, target)
        parts = urlsplit(url)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = self.connect(parts)
        try:
            connection.request(method, parts.path + (f"?{parts.query}" if parts.query else ""), body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read(), url)
        finally:
            connection.close()

    def connect(self, parts):
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self.timeout,
                                               context=self._context)
        return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.timeout)

    def fetch(self, target, **options):
        """The bytes of a file, by whatever redirects there are."""
        answer = self(target, **options)
        while answer.status in (301, 302, 307, 308):
            answer = self(answer.location, **options)
        return answer

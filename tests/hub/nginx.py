# SPDX-License-Identifier: Apache-2.0
"""The byte origin: a real nginx that sends LFS objects by expiring signed URLs, and the log it keeps.

A shell stands between: it stops nginx and removes the folder when its input ends, so a hub that is
killed leaves nothing behind. nginx runs one worker, so that its log lines stand in the order of the
requests: a request on its private socket is a fence, after which every finished answer is in the log."""
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time


KEEPER = """
"$0" -p "$1" -c "$1/nginx.conf" -e "$1/error.log" &
pid=$!
echo $pid
read word
kill -TERM $pid 2>/dev/null
wait $pid
[ "$word" = stop ] || rm -rf "$2"
"""

CONFIG = """
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  {temp_paths}
  default_type application/octet-stream;
  server_tokens off;
  sendfile on;
  tcp_nopush on;
  keepalive_timeout 75s;
  keepalive_requests 1000000;
  map $http_authorization $has_token {{ "" 0; default 1; }}
  log_format record escape=json '{{"time":$msec,"seconds":$request_time,"method":"$request_method",'
    '"path":"$request_uri","status":$status,"bytes":$body_bytes_sent,"range":"$http_range",'
    '"user_agent":"$http_user_agent","has_token":$has_token,"connection":$connection}}';
  access_log {folder}/access.log record;
  server {{
    listen {host}:{port} {ssl} backlog=1024;
    listen unix:{folder}/fence;
    {tls}
    limit_rate {rate};
    location ~ "^/lfs/[0-9a-f]{{2}}/[0-9a-f]{{2}}/(?<sha>[0-9a-f]{{64}})$" {{
      secure_link $arg_signature,$arg_expires;
      secure_link_md5 "$secure_link_expires$uri {secret}";
      if ($secure_link = "") {{ return 403; }}
      if ($secure_link = "0") {{ return {expired_status}; }}
      alias {objects}/$sha;
    }}
    location = /_generation {{ return 200 "{generation}"; }}
    location / {{ return 404; }}
  }}
}}
"""


class OriginEntry:
    """One request that nginx answered, with the names that the hub's own entries have."""
    kind, listener, user, faults, done = "origin", "nginx", None, (), True

    def __init__(self, record):
        self.time = record["time"] - record["seconds"]
        self.seconds = record["seconds"]
        self.method, self.path, self.status = record["method"], record["path"], record["status"]
        self.bytes, self.range = record["bytes"], record["range"] or None
        self.user_agent = record["user_agent"]
        self.token = "sent" if record["has_token"] else None  # never to be seen here
        self.connection = record["connection"]
        self.blob = self.path.partition("?")[0].split("/")[-1]
        self.content = self.method == "GET" and self.status in (200, 206)

    def as_dict(self):
        return {"kind": self.kind, "listener": self.listener, **vars(self)}

    def __repr__(self):
        return f"<{self.method} origin {self.blob[:12]} {self.status} {self.range or ''} {self.bytes}>"


def find_nginx():
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise RuntimeError("nginx is not installed (apt install nginx-light)")
    return found


class Nginx:
    def __init__(self, folder, root, objects, secret, tls=None, host="127.0.0.1"):
        self._program, self._folder, self._root, self._objects = find_nginx(), folder, root, objects
        self._abilities = subprocess.run([self._program, "-V"], capture_output=True, text=True).stderr
        if "http_secure_link_module" not in self._abilities:
            raise RuntimeError("this nginx lacks http_secure_link_module")
        folder.mkdir(parents=True, exist_ok=True)
        self.tls, self.host, self.port = tls, host, 0
        self.secret, self.rate, self.expired_status = secret, 0, 403
        self._generation = self._fence_serial = 0
        self._keeper = self._pid = self._held = None
        self._log_at, self._partial, self.entries = 0, b"", []

    @property
    def origin(self):
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    def start(self):
        if self._keeper:
            return
        for _ in range(5):
            fixed = self.port != 0
            if not fixed:
                self.port = free_port(self.host)
            self._release()
            self._configure()
            self._keeper = subprocess.Popen(
                ["/bin/sh", "-c", KEEPER, self._program, str(self._folder), str(self._root)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
            self._pid = int(self._keeper.stdout.readline())
            if self._ready(3):
                return
            self._end("stop")
            if not fixed:
                self.port = 0
        raise RuntimeError(f"nginx does not start: {(self._folder / 'error.log').read_text()[-2000:]}")

    def stop(self, hold=False):
        """`hold`: keep the port, so that start() gets it again and nobody else meanwhile."""
        self._end("stop")
        if hold:
            self._held = socket.socket()
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind((self.host, self.port))
        else:
            self._release()

    def reload(self):
        """The present rate, secret and expired_status, for every request from now on."""
        if not self._keeper:
            return
        self._configure()
        os.kill(self._pid, signal.SIGHUP)
        if not self._ready(5):
            raise RuntimeError("nginx does not reload")

    def read_log(self):
        """Every request finished so far, this fence included in none of them."""
        if self._keeper:
            self._fence_serial += 1
            mark = f"/_fence/{self._fence_serial}"
            self._ask(mark)
            self._read_until(mark)
        else:
            self._read_lines()
        return self.entries

    def _read_until(self, mark):
        deadline = time.monotonic() + 5
        while mark not in self._read_lines():
            if time.monotonic() > deadline:
                raise RuntimeError("nginx does not write its log")
            time.sleep(0.002)

    def _read_lines(self):
        marks = set()
        try:
            with open(self._folder / "access.log", "rb") as log:
                log.seek(self._log_at)
                data = log.read()
        except FileNotFoundError:
            return marks
        self._log_at += len(data)
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines:
            record = json.loads(line)
            if record["path"].startswith("/_"):
                marks.add(record["path"])
            else:
                self.entries.append(OriginEntry(record))
        return marks

    def _configure(self):
        self._generation += 1
        fill = {"user": "user root;" if os.geteuid() == 0 else "", "folder": self._folder, "host": self.host,
                "port": self.port, "objects": self._objects, "secret": self.secret, "rate": self.rate,
                "expired_status": self.expired_status, "generation": self._generation,
                "ssl": "ssl" if self.tls else "",
                "tls": f"ssl_certificate {self.tls.certificate}; ssl_certificate_key {self.tls.key}; "
                       "ssl_session_cache shared:s:1m;" if self.tls else "",
                "temp_paths": " ".join(f"{name}_temp_path {self._folder}/{name};"
                                       for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
                                       if f"--without-http_{name}_module" not in self._abilities)}
        (self._folder / "nginx.conf").write_text(CONFIG.format(**fill))

    def _ready(self, seconds):
        """Whether the new configuration, and only that, answers before the time is over."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if self._ask("/_generation") == str(self._generation) and self._workers() == 1:
                    return True
            except OSError:
                pass
            time.sleep(0.005)
        return False

    def _workers(self):
        """Workers that still take requests; after a reload the former one finishes its answers first."""
        count = 0
        with open(f"/proc/{self._pid}/task/{self._pid}/children") as children:
            for child in children.read().split():
                try:
                    with open(f"/proc/{child}/cmdline") as title:
                        count += "shutting down" not in title.read()
                except OSError:
                    pass
        return count

    def _ask(self, path):
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(5)
        try:
            connection.sock.connect(str(self._folder / "fence"))
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        finally:
            connection.close()

    def _end(self, word):
        keeper, self._keeper = self._keeper, None
        if not keeper:
            return
        try:
            keeper.stdin.write(word.encode() + b"\n")
            keeper.stdin.close()
        except OSError:
            pass
        keeper.stdout.close()
        keeper.wait(10)
        (self._folder / "fence").unlink(missing_ok=True)

    def _release(self):
        if self._held:
            self._held.close()
            self._held = None


def free_port(host):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]

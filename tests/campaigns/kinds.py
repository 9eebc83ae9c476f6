# SPDX-License-Identifier: Apache-2.0
"""Every kind of misbehaviour of test_bad_origin.py: where it stands, and what it may do to a reader."""
import contextlib
import socket
import ssl
import subprocess
import threading
from dataclasses import dataclass, field

from hub import certs
from store import Store
from store_kinds import HARMLESS, LIES, WRONG
from test_hostile_hub import BAD_API, BAD_BYTES

# What brings a part is gone on with from there; a drip may be done in time.
OVERCOME = {"length of the body short", "one byte short", "short without length", "body too long", "drip of 1000 bytes/s", "drip of a byte/s",
            "drip of headers", "silence in the body", "silence before the last byte", "reset in the body", "half closed in the body",
            "chunks end early", "Content-Length overflows", "200 with a part"}
# Whose bytes were wrong again and again is left alone for a minute.
LIES_HEAL = 70.0
# Who does not even get a connection waits until a silence of 15 s is over, and then for the next attempt.
DEAF_HEALS = 20.0


@dataclass(frozen=True)
class Kind:
    name: str
    where: str  # store, link (how the store is reached), home (the endpoint's /resolve/) or api
    fault: object = field(repr=False, compare=False)
    right: bool | None = None  # True: the reader gets its bytes; False: an error; None: either
    lies: bool = False
    alone: bool = False  # it is about the whole endpoint: a hub and a mount of its own
    believed: bool = False  # N3: for 30 s
    heals: float = 5.0  # seconds after the end of the trouble


def _title(fault):
    return " ".join(str(value)[:24] for value in fault.values())


PINS = [
    dict(name="headers", put={"X-Repo-Commit": "9" * 40}), dict(name="headers", drop=["X-Repo-Commit"]),
    dict(name="headers", put={"X-Linked-Size": "7"}), dict(name="headers", put={"X-Linked-Size": "many"}),
    dict(name="headers", put={"X-Linked-Etag": '"' + "8" * 64 + '"'}), dict(name="headers", put={"X-Linked-Etag": "odd"}),
    dict(name="headers", drop=["X-Linked-Etag", "X-Linked-Size"]), dict(name="headers", drop=["Location"]),
    dict(name="headers", put={"Date": "Thu, 01 Jan 1970 00:00:00 GMT"}), dict(name="headers", put={"X-Huge": "x" * 300_000}),
    dict(name="no_length"), dict(name="delay", seconds=0.3), dict(name="status", code=408), dict(name="status", code=410),
    dict(name="status", code=451), dict(name="status", code=502), dict(name="status", code=504),
    dict(name="status", code=503, headers={"Retry-After": "86400"}), dict(name="status", code=404, error_code="EntryNotFound"),
    dict(name="status", code=404, error_code="RepoNotFound"), dict(name="status", code=401, error_code="RepoNotFound"),
    dict(name="status", code=403, error_code="GatedRepo"), dict(name="redirect", location="http://no-such-host.invalid/x", code=302),
]
ENDPOINTS_OWN = ("reset", "stall", "rate_limit", "drip")


def _about_endpoint(fault):
    return fault["name"] in ENDPOINTS_OWN or "Retry-After" in fault.get("headers", {}) or "X-Huge" in fault.get("put", {})


def home_kinds():
    for fault in [*BAD_BYTES, *PINS]:
        if fault["name"] in ("short", "gzip", "wrong_content_range") or "Content-Range" in str(fault):
            continue  # of a body, which a redirect does not have: store_kinds.py has them
        yield Kind(f"home: {_title(fault)}", "home", fault, alone=_about_endpoint(fault))


def api_kinds():
    for fault in [*BAD_API, dict(name="delay", seconds=0.3), dict(name="stall"), dict(name="drip", rate=50)]:
        believed = fault.get("code") in (401, 403, 404, 451)
        yield Kind(f"api: {_title(fault)}", "api", fault, alone=_about_endpoint(fault), believed=believed)


# How the store is reached


def certificate(folder, name, names, authority=None, dates=("20200101000000Z", "20990101000000Z")):
    """A certificate of other names or another time than certs.make gives; by itself, or signed by `authority`'s folder."""
    box = folder / name
    box.mkdir()
    (box / "index").touch()
    (box / "serial").write_text("01\n")
    (box / "cnf").write_text(f"""[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
default_ca = own
[own]
database = {box}/index
serial = {box}/serial
new_certs_dir = {box}
default_md = sha256
policy = any
[any]
commonName = supplied
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = {names}
""")

    def openssl(*words):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, cwd=box)
    openssl("req", "-config", "cnf", "-new", *certs.NEW_KEY, "-keyout", "key", "-out", "csr")
    signer = ["-selfsign", "-keyfile", "key"] if authority is None else ["-cert", authority / "ca.pem", "-keyfile", authority / "ca.key"]
    openssl("ca", "-config", "cnf", "-batch", "-notext", "-startdate", dates[0], "-enddate", dates[1], "-extensions", "server",
            *signer, "-in", "csr", "-out", "pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(box / "pem", box / "key")
    return context


class Deaf:
    """Listens. `accepts`: takes connections, and then says nothing, or leaves at once."""

    def __init__(self, accepts=False, leaves=False):
        self._leaves, self._taken = leaves, []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128 if accepts else 0)
        self.port = self._listener.getsockname()[1]
        if accepts:
            threading.Thread(target=self._accept, daemon=True).start()
        else:
            # Whoever comes after these is not even answered by the kernel.
            for _ in range(4):
                self._taken.append(each := socket.socket())
                each.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    each.connect(("127.0.0.1", self.port))

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                if self._leaves:
                    connection.close()
                else:
                    self._taken.append(connection)

    def drop(self):
        """The connections that it has taken."""
        for each in self._taken:
            each.close()
        self._taken.clear()

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.drop()


class Links:
    """Where signed addresses may lead, by kind. `authority`: what the mount's daemon trusts."""

    def __init__(self, folder, files):
        made = certs.make(folder / "good")
        other = certs.make(folder / "other")
        self.authority = made.authority
        loop, good = certs.LOOPBACK, folder / "good"
        contexts = {"right certificate": made.server_context(), "unknown authority": other.server_context(),
                    "expired certificate": certificate(folder, "old", loop, good, ("20200101000000Z", "20200301000000Z")),
                    "certificate of tomorrow": certificate(folder, "early", loop, good, ("20980101000000Z", "20990101000000Z")),
                    "another host's certificate": certificate(folder, "host", "DNS:other.test", good),
                    "self-signed": certificate(folder, "self", loop)}
        old = made.server_context()
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        contexts["TLS 1.1"] = old
        self._made = [Store(files, context) for context in contexts.values()]
        plain = Store(files)
        deaf, silent, leaving = Deaf(), Deaf(accepts=True), Deaf(accepts=True, leaves=True)
        self._made += [plain, deaf, silent, leaving]
        self._silent = silent
        self.where = {name: store.origin for name, store in zip(contexts, self._made)}
        self.where |= {
            "refused": "http://127.0.0.1:9", "deaf": f"http://127.0.0.1:{deaf.port}", "silent": f"http://127.0.0.1:{silent.port}",
            "no such host": "http://no-such-host.invalid", "plain where TLS is expected": f"https://127.0.0.1:{plain.port}",
            "TLS where plain is expected": self.where["right certificate"].replace("https:", "http:"),
            "silent in the handshake": f"https://127.0.0.1:{silent.port}", "closed in the handshake": f"https://127.0.0.1:{leaving.port}",
            "a scheme that is none": "gopher://127.0.0.1", "a file": "file:///etc", "no port": "http://127.0.0.1:0"}

    def heal(self, name):
        if name.startswith("silent"):
            self._silent.drop()

    def close(self):
        for each in self._made:
            each.close()


LINKS = ("right certificate", "unknown authority", "expired certificate", "certificate of tomorrow", "another host's certificate",
         "self-signed", "TLS 1.1", "refused", "deaf", "silent", "no such host", "plain where TLS is expected",
         "TLS where plain is expected", "silent in the handshake", "closed in the handshake", "a scheme that is none", "a file", "no port")


def all_kinds():
    kinds = [Kind(f"store: {name}", "store", fault, right=True) for name, fault in HARMLESS.items()]
    kinds += [Kind(f"store: {name}", "store", fault, right=None if name in OVERCOME else False) for name, fault in WRONG.items()]
    kinds += [Kind(f"store: {name}", "store", fault, lies=True, heals=LIES_HEAL) for name, fault in LIES.items()]
    kinds += [Kind(f"link: {name}", "link", name, right=name == "right certificate",
                   heals=DEAF_HEALS if name == "deaf" else 5.0) for name in LINKS]
    kinds += [*home_kinds(), *api_kinds()]
    # Two faults may have one title.
    return list({kind.name: kind for kind in kinds}.values())

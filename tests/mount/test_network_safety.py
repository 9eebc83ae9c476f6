# SPDX-License-Identifier: Apache-2.0
"""What leaves the machine: where redirects may lead, where the token goes, and what an answer may cost.

A Hub of the internet needs an internet: a network of the test's own, in which only loopback is (network.py)."""
import errno
import itertools
import os
import re
import subprocess
import time
import zlib
from pathlib import Path

import lab
import pytest
from hub.log import token_mark
from lab import ALICE, BOB, MIB, errno_of, eventually, processes_with
from network import Names, Network, Proxy, Server, name_server, reply
from world import fresh_bytes

PUBLIC, OTHER_PUBLIC = "203.0.113.7", "203.0.113.8"
PRIVATE, OTHER_PRIVATE, UNIQUE = "10.9.8.7", "10.9.8.8", "fd12:3456::7"
METADATA = "169.254.169.254"
NAMES = {"inner.test": [PRIVATE], "both.test": [PRIVATE, OTHER_PUBLIC], "store.lab.test": [OTHER_PRIVATE],
         "store.evillab.test": [OTHER_PRIVATE]}


class Place:
    """A network with every kind of address, names in it, and what was made there."""

    def __init__(self, make):
        self._make, self._made = make, []
        self.network = Network(PUBLIC, OTHER_PUBLIC, PRIVATE, OTHER_PRIVATE, METADATA, UNIQUE, name_server())
        with self.network:
            self._made.append(Names(NAMES))
            found = subprocess.run(["getent", "ahosts", "inner.test"], capture_output=True, text=True, check=False)
        if PRIVATE not in found.stdout:
            self.close()
            pytest.skip("this machine does not ask a name server for names")

    def server(self, *args):
        with self.network:
            self._made.append(Server(*args))
        return self._made[-1]

    def world(self, host):
        with self.network:
            return self._make.world(host=host)

    def mount(self, world, *args, **options):
        with self.network:
            return self._make.mount(world, *args, **options)

    def close(self):
        for each in self._made:
            each.close()
        self.network.close()


@pytest.fixture
def place(make):
    made = Place(make)
    yield made
    made.close()


@pytest.fixture
def server():
    made = []

    def start(*args, **options):
        made.append(Server(*args, **options))
        return made[-1]
    yield start
    for each in made:
        each.close()


def hosts_of(internal):
    return "internal_hosts = [" + ", ".join(f'"{each}"' for each in internal) + "]\n"


# Where redirects lead

INWARD = ["127.0.0.1", "127.9.9.9", METADATA, PRIVATE, "[::1]", f"[{UNIQUE}]", "0.0.0.0", "[::]", f"[::ffff:{PRIVATE}]",
          "[::ffff:a9fe:a9fe]", "2130706433", "0x7f.1", "127.1", "localhost", "inner.test", "inner.test."]


def test_T1_bytes_of_a_public_hub_never_come_from_within(place):
    victim = place.server(lambda heard: reply(200, b"secret"), "::")
    world = place.world(PUBLIC)
    mount = place.mount(world, "--read-deadline", "12")
    for target in INWARD:
        repo = world.add({"model.bin": fresh_bytes(9000)})
        path = mount.file(repo, "model.bin")
        os.stat(path)
        world.hub.settings.bytes_link = f"http://{target}:{victim.port}"
        began = time.monotonic()
        assert errno_of(path.read_bytes) == errno.EIO, target
        assert time.monotonic() - began < 5, f"{target}: refused is refused, and not waited for"
        assert victim.connections == 0, target
        world.hub.settings.bytes_link = ""
        assert path.read_bytes() == repo.content["model.bin"], f"{target}: the address was kept"
    log = mount.log()
    assert f"{METADATA} is a link-local" in log and f"{PRIVATE} is a private" in log and "internal_hosts" in log
    assert "Signature=" not in log


def test_T1_questions_of_a_public_hub_are_not_asked_within(place):
    victim = place.server(lambda heard: reply(200, b'{"sha": "' + b"a" * 40 + b'"}'), "::")
    world = place.world(PUBLIC)
    mount = place.mount(world)
    for target in INWARD:
        repo = world.add()
        location = f"http://{target}:{victim.port}{{path}}"
        with world.hub.faults.add("redirect", on=("api", "resolve"), location=location, code=307):
            began = time.monotonic()
            assert errno_of(os.stat, mount.repo(repo.id)) == errno.ENOENT, target
            assert time.monotonic() - began < 3, target
        assert victim.connections == 0, target
        assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit


def test_T1_the_next_page_is_not_asked_for_within(place):
    victim = place.server(lambda heard: reply(200, b"[]"), "::")
    world = place.world(PUBLIC)
    world.hub.settings.page_size = 1
    world.hub.settings.link_origin = f"http://{PRIVATE}:{victim.port}"
    mount = place.mount(world)
    repo = world.add({"a.txt": b"a", "b.txt": b"b", "c.txt": b"c"})
    assert sorted(os.listdir(mount.repo(repo.id) / "snapshots" / repo.commit)) == ["a.txt", "b.txt", "c.txt"]
    assert victim.connections == 0


def test_T1_of_several_addresses_only_the_bad_is_left_out(place):
    world = place.world("0.0.0.0")
    port = world.hub.origin_endpoint.rpartition(":")[2]
    world.hub.settings.bytes_link = f"http://both.test:{port}"
    mount = place.mount(world, endpoints=[f"http://{PUBLIC}:{world.endpoint.rpartition(':')[2]}"])
    for _ in range(3):
        repo = world.add({"model.bin": fresh_bytes(9000)})
        assert mount.file(repo, "model.bin").read_bytes() == repo.content["model.bin"]
    established = connections(place, port)
    assert any(OTHER_PUBLIC in each for each in established), established
    assert not any(PRIVATE in each for each in established), established


@pytest.mark.waits
def test_T1_a_name_whose_good_address_fails_is_waited_for(place):
    """Another address of it was refused; that one is a Hub in trouble like any."""
    world = place.world(PUBLIC)
    mount = place.mount(world, "--read-deadline", "2")
    repo = world.add({"model.bin": fresh_bytes(9000)})
    os.stat(mount.file(repo, "model.bin"))
    world.hub.settings.bytes_link = "http://both.test:9"
    began = time.monotonic()
    assert errno_of(mount.file(repo, "model.bin").read_bytes) == errno.EIO
    assert time.monotonic() - began > 1.9


def connections(place, port):
    """What is or was just connected to `port` in there, each end a line."""
    with place.network:
        found = subprocess.run(["ss", "-tanH"], capture_output=True, text=True, check=True).stdout
    return [line for line in found.splitlines() if f":{port} " in line + " " and "LISTEN" not in line]


def test_T1_a_kept_connection_is_looked_at_too(place):
    """A mirror within is an endpoint, and connected to; a public Hub must not speak over that connection."""
    outside, within = place.world(PUBLIC), place.world(PRIVATE)
    port = within.endpoint.rpartition(":")[2]
    inner = f"http://inner.test:{port}"
    with place.network:
        mount = place._make.mount(None, endpoints=[outside.endpoint, inner])
    with place.network:
        outside.hub.down()
    known = within.add()
    eventually(lambda: errno_of(os.stat, mount.repo(known.id)) == 0, 10)
    assert connections(place, port), "there is one to be kept"
    with place.network:
        outside.hub.up()
    names = itertools.count()
    eventually(lambda: errno_of(os.stat, mount.repo(f"acme/none-{next(names)}")) and mount.status()["endpoints"][0]["up"])
    with outside.hub.faults.add("redirect", on="api", location=f"{inner}/stolen{{path}}", code=307):
        assert errno_of(os.stat, mount.repo("acme/other")) == errno.ENOENT
        assert outside.asked(path="*acme/other*")
    assert not within.asked(path="/stolen*")
    assert "inner.test" in mount.log() and "internal_hosts" in mount.log()


ENDPOINTS = {"127.0.0.1": {"127.0.0.1", PRIVATE, OTHER_PRIVATE, METADATA, OTHER_PUBLIC},
             PRIVATE: {PRIVATE, OTHER_PRIVATE, OTHER_PUBLIC}, PUBLIC: {PUBLIC, OTHER_PUBLIC}}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_T2_outward_is_possible_and_inward_is_not(place, endpoint):
    world = place.world("0.0.0.0")
    hub_port, port = (each.rpartition(":")[2] for each in (world.endpoint, world.hub.origin_endpoint))
    mount = place.mount(world, endpoints=[f"http://{endpoint}:{hub_port}"])
    for store in ("127.0.0.1", PRIVATE, OTHER_PRIVATE, METADATA, PUBLIC, OTHER_PUBLIC):
        repo = world.add({"model.bin": fresh_bytes(9000)})
        os.stat(mount.file(repo, "model.bin"))
        world.hub.settings.bytes_link = f"http://{store}:{port}"
        before = len(world.hub.origin_requests())
        got = errno_of(mount.file(repo, "model.bin").read_bytes)
        allowed = store in ENDPOINTS[endpoint] or store == PUBLIC
        assert got == (0 if allowed else errno.EIO), f"{endpoint} to {store}: {errno.errorcode.get(got, got)}"
        assert allowed or len(world.hub.origin_requests()) == before


def test_T2_listed_hosts_may_be_within(place):
    """Exactly these: a name that only ends alike is another, and so is another address of the same network."""
    world = place.world("0.0.0.0")
    hub_port, port = (each.rpartition(":")[2] for each in (world.endpoint, world.hub.origin_endpoint))
    mount = place.mount(world, endpoints=[f"http://{PUBLIC}:{hub_port}"],
                        config=hosts_of(["Inner.Test", ".lab.test", OTHER_PRIVATE]))
    for store, allowed in (("inner.test", True), ("store.lab.test", True), (OTHER_PRIVATE, True), (PRIVATE, False),
                           ("store.evillab.test", False), (METADATA, False), ("127.0.0.1", False)):
        repo = world.add({"model.bin": fresh_bytes(9000)})
        os.stat(mount.file(repo, "model.bin"))
        world.hub.settings.bytes_link = f"http://{store}:{port}"
        assert errno_of(mount.file(repo, "model.bin").read_bytes) == (0 if allowed else errno.EIO), store


def test_T2_who_was_outside_is_not_led_back_in(place):
    """From a Hub within to the internet, and from there to what is within: that is the internet's wish."""
    victim = place.server(lambda heard: reply(200, b"secret"), PRIVATE)
    away = place.server(lambda heard: reply(302, Location=f"http://{PRIVATE}:{victim.port}/x"), OTHER_PUBLIC)
    world = place.world(OTHER_PRIVATE)
    mount = place.mount(world, "--read-deadline", "12")
    repo = world.add({"model.bin": fresh_bytes(9000)})
    os.stat(mount.file(repo, "model.bin"))
    world.hub.settings.bytes_link = away.origin
    for _ in range(2):  # asked for, and from a kept address
        assert errno_of(mount.file(repo, "model.bin").read_bytes) == errno.EIO
    assert away.heard and victim.connections == 0


def test_T2_an_address_is_looked_at_before_a_proxy_is_asked(make, server):
    """What a name is behind the proxy only the proxy knows; an address it need not be asked for."""
    places = [f"http://{each}/x" for each in ("169.254.169.254", "127.0.0.1:9", "[::1]:9", "10.0.0.5", "localhost:9")]

    def answer(heard):
        case = re.search(r"case-(\d)", heard.target)
        if case and int(case[1]) < len(places):
            return reply(307, Location=places[int(case[1])])
        return reply(307, Location="http://elsewhere.example/x") if case else reply(404)
    proxy = server(answer)
    mount = make.mount(None, endpoints=["http://hub.example"],
                       env={"HTTP_PROXY": proxy.origin, "NO_PROXY": None, "no_proxy": None})
    for number in range(len(places) + 1):
        assert errno_of(os.stat, mount.repo(f"acme/case-{number}")) == errno.ENOENT
    targets = {each.target for each in proxy.heard}
    assert "http://elsewhere.example/x" in targets
    assert not targets & set(places), targets
    assert all(each.startswith(("http://hub.example/", "http://elsewhere.example/")) for each in targets), targets


# The token

@pytest.mark.parametrize("case", ["port", "host", "detour", "user", "signed", "page"])
def test_T3_the_token_stays_at_the_endpoint(make, server, case):
    world = make.world(page_size=1)
    token = world.hub.add_user("alice")
    repo = world.add({"a.txt": b"a", "model.bin": fresh_bytes(9000)})
    away = server(lambda heard: reply(307, Location=f"{world.endpoint}/back{heard.target}")
                  if case == "detour" else reply(404))
    port = world.endpoint.rpartition(":")[2]
    mount = make.mount(world, "--read-deadline", "2", env={"HF_TOKEN": token})
    where = {"port": f"{away.origin}{{path}}", "host": f"http://localhost:{port}/marked{{path}}",
             "detour": f"{away.origin}{{path}}", "user": f"http://u:word@127.0.0.1:{port}/marked{{path}}"}
    if case in where:
        with world.hub.faults.add("redirect", on="api", path="/api/*", location=where[case], code=307):
            assert errno_of(os.stat, mount.repo(repo.id)) == errno.ENOENT
    elif case == "signed":
        world.hub.settings.bytes_link = away.origin
        assert errno_of(mount.file(repo, "model.bin").read_bytes) == errno.EIO
    else:
        world.hub.settings.link_origin = away.origin
        assert len(os.listdir(mount.repo(repo.id) / "snapshots" / repo.commit)) == 2
    mine, marked = world.asked(path="/api/*"), world.asked(path="/marked*") + world.asked(path="/back*")
    assert mine and all(each.token == token_mark(token) for each in mine)
    assert not any(each.token for each in marked) and not any(each.token for each in away.heard)
    assert bool(marked) == (case in ("host", "detour")), "a user name in an address is not followed"
    assert bool(away.heard) == (case in ("port", "detour", "signed"))
    assert "word" not in mount.log()


def test_T3_a_proxy_that_is_asked_to_connect_does_not_hear_it(make):
    world = make.world(tls=True)
    token = world.hub.add_user("alice")
    proxy = Proxy()
    mount = make.mount(world, env={"HF_TOKEN": token, "HTTPS_PROXY": proxy.origin, "NO_PROXY": None, "no_proxy": None})
    repo = world.add({"config.json": b"{}"}, private=True, allowed=["alice"])
    assert mount.file(repo, "config.json").read_bytes() == b"{}"
    proxy.close()
    assert {each.method for each in proxy.heard} == {"CONNECT"}
    assert not any("authorization" in name for each in proxy.heard for name in each.headers)
    assert all(each.token == token_mark(token) for each in world.api(repo))


def served_to_a_user(hffs, point, state, endpoint, env, user, other):
    """In a mount namespace of its own, root lends /dev/fuse, and `user` mounts. What may be read of the processes then."""
    os.mknod(state + ".fuse", 0o666 | stat.S_IFCHR, os.makedev(10, 229))
    os.chmod(state + ".fuse", 0o666)
    subprocess.run(["mount", "--bind", state + ".fuse", "/dev/fuse"], check=True)
    os.unlink(state + ".fuse")

    def run(*words, uid=user):
        return subprocess.run(words, user=uid, group=uid, extra_groups=[], capture_output=True, env=env, timeout=30)

    def status():
        return json.loads(run(hffs, "status", "--state-dir", state, "--json").stdout)

    def look(pid):
        with open(f"/proc/{pid}/limits") as limits, open(f"/proc/{pid}/cmdline") as words:
            return {"owner": os.stat(f"/proc/{pid}/environ").st_uid, "limits": limits.read(), "words": words.read(),
                    "read": [name for name in ("environ", "maps", "auxv") for uid in (user, other)
                             if run("cat", f"/proc/{pid}/{name}", uid=uid).returncode == 0]}
    done = run(hffs, "mount", point, "--state-dir", state, "--endpoint", endpoint)
    if done.returncode != 0:
        return done.stderr.decode()
    try:
        before = status()
        looked = [look(before["pid"]), look(before["worker"]["pid"])]
        os.kill(before["worker"]["pid"], signal.SIGKILL)
        while not run("ls", point).returncode == 0 or status()["worker"]["pid"] == before["worker"]["pid"]:
            time.sleep(0.05)
        return looked + [look(status()["worker"]["pid"])]
    finally:
        run(hffs, "umount", point)


@pytest.mark.parametrize("given", ["HF_TOKEN", "file"])
def test_T4_nobody_else_reads_the_token(make, root, given):
    """No user, the daemon's own included, from its processes; and no core dump holds it."""
    world = make.world()
    token = world.hub.add_user("alice", "hf_VeryOwnSecretOfThisTest")
    mount = make.mount(world, start=False, user=BOB, env={"HF_TOKEN": token if given == "HF_TOKEN" else None})
    if given == "file":
        path = mount.home / ".cache/huggingface/token"
        path.parent.mkdir(parents=True)
        path.write_text(token)
        for each in (path, path.parent, path.parent.parent):
            os.chown(each, BOB, BOB)
        path.chmod(0o600)
    looked = make.child(served_to_a_user, lab.HFFS, mount.point, mount.state, world.endpoint, mount.env, BOB, ALICE,
                        prefix=["unshare", "-m"]).result()
    eventually(lambda: not processes_with(str(mount.box)), 5, "the daemons' end")
    assert isinstance(looked, list), looked
    for each in looked:
        assert each["read"] == [], "of a keeper, a worker, or its successor"
        assert each["owner"] == 0, "it can be dumped"
        assert re.search(r"Max core file size +0 +0 ", each["limits"])
        assert token not in each["words"]


def test_T4_the_token_is_written_nowhere(make):
    world = make.world()
    token = world.hub.add_user("alice", "hf_VeryOwnSecretOfThisTest")
    mount = make.mount(world, "--log-level", "debug", "--read-deadline", "1", env={"HF_TOKEN": token})
    repo = world.add({"config.json": b"{}"}, private=True, allowed=["alice"])
    assert mount.file(repo, "config.json").read_bytes() == b"{}"
    world.hub.revoke_token(token)  # and every error that comes of it
    assert errno_of(os.stat, mount.repo("acme/none")) in (errno.ENOENT, errno.EACCES)
    words = mount.hffs("path", "acme/none")
    texts = [mount.log(), mount.hffs("status", "--state-dir", str(mount.state), "--json").out,
             mount.hffs("status", "--state-dir", str(mount.state)).out, words.out + words.err]
    assert "GET http" in texts[0], "the log is at debug"
    assert not any(token in each for each in texts)
    for path in mount.state.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path


# What is spoken

def test_T5_no_variable_turns_verification_off(make):
    """Nor does a file: what other programs take for an order to trust everybody is none."""
    world = make.world(tls=True)
    mount = make.mount(world, start=False, env={
        **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), ""),
        "PYTHONHTTPSVERIFY": "0", "HF_HUB_DISABLE_SSL_VERIFICATION": "1", "GIT_SSL_NO_VERIFY": "1", "CURL_INSECURE": "1",
        "NODE_TLS_REJECT_UNAUTHORIZED": "0", "SSL_VERIFY": "false", "CURL_SSL_VERIFYPEER": "0"})
    (mount.home / ".curlrc").write_text("insecure\n")
    mount.start()
    repo = world.add()
    assert errno_of(os.stat, mount.repo(repo.id)) == errno.ENOENT
    assert not world.asked(), "a request went over a connection that nobody vouches for"
    assert "certificate" in mount.log()


@pytest.mark.parametrize("scheme", ["http", "file", "ftp", "gopher", "dict", "smb", "scp"])
def test_T5_only_https_follows_https(make, server, scheme):
    world = make.world(tls=True)
    plain = server(lambda heard: reply(404))
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(9000)})
    path = mount.file(repo, "model.bin")
    os.stat(path)
    place = "file:///etc/hostname" if scheme == "file" else f"{scheme}://127.0.0.1:{plain.port}/x"
    mount.umount()
    mount.args += ["--read-deadline", "1"]
    mount.start()
    os.stat(path)
    with world.hub.faults.add("redirect", on=("redirect", "content"), location=place, code=302):
        assert errno_of(path.read_bytes) == errno.EIO
    with world.hub.faults.add("redirect", on="api", location=place, code=307):
        assert errno_of(os.stat, mount.repo("acme/none")) == errno.ENOENT
    assert plain.connections == 0


def test_T5_no_netrc_and_no_cookie(make):
    world = make.world()
    mount = make.mount(world, start=False, env={"NETRC": None})
    netrc = mount.home / ".netrc"
    netrc.write_text("machine 127.0.0.1 login alice password word\ndefault login alice password word\n")
    netrc.chmod(0o600)
    mount.env["NETRC"] = str(netrc)
    mount.start()
    heard = []
    answer = world.hub._listener.answer

    def look(request):
        heard.append(dict((name.lower(), value) for name, value in request.headers.pairs))
        return answer(request)
    world.hub._listener._server.answer = look
    with world.hub.faults.add("headers", on="any", put={"Set-Cookie": "session=1; Path=/"}):
        for _ in range(3):
            repo = world.add({"config.json": b"{}"})
            assert mount.file(repo, "config.json").read_bytes() == b"{}"
    assert len(heard) > 3
    assert not any("authorization" in each or "cookie" in each for each in heard)


# What an answer costs

def peak(pid):
    """The most memory that the process had, in bytes."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())[1]) * 1024


def gzipped_zeros():
    """4 GiB of JSON's blanks, as a few megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n"
           + packer.compress(b"[") + packer.flush(zlib.Z_FULL_FLUSH))
    block = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = block.compress(b" " * (4 * MIB)) + block.flush(zlib.Z_FULL_FLUSH)
    for _ in range(1024):
        yield packed


def endless_headers():
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        yield b"X-More: " + b"x" * 4000 + b"\r\n"


def one_long_header():
    yield b"HTTP/1.1 200 OK\r\nX-More: "
    while True:
        yield b"x" * 65536


def endless_interims():
    while True:
        yield b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100


def dripping_headers():
    yield b"HTTP/1.1 200 OK\r\n"
    while True:
        time.sleep(0.3)
        yield b"X-More: x\r\n"


@pytest.mark.waits
@pytest.mark.parametrize("answer", [gzipped_zeros, endless_headers, one_long_header, endless_interims, dripping_headers],
                         ids=lambda each: each.__name__)
def test_T6_no_answer_costs_much(make, server, answer):
    hub = server(lambda heard: answer() if "/api/" in heard.target else reply(404))
    mount = make.mount(None, endpoints=[hub.origin])
    before, worker = peak(mount.worker), mount.worker
    began = time.monotonic()
    assert errno_of(os.stat, mount.repo("acme/bomb")) == errno.ENOENT
    assert time.monotonic() - began < 12
    assert hub.heard
    assert mount.worker == worker, "it was not survived"
    assert peak(worker) - before < 250 * MIB
    assert errno_of(os.listdir, mount.point) == 0

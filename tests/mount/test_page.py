# SPDX-License-Identifier: Apache-2.0
"""G: the status page, its figures, and who may look. docs/SEMANTICS.md."""
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import threading
import time
from pathlib import Path

import browser
import pytest
from hub.nginx import free_port
from lab import ALICE, BOB, MIB, ROOT, eventually, in_child, is_gone
from test_command_line import refused
from test_failure import read_it, stuck
from world import fresh_bytes, quiet


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self._path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Answer:
    def __init__(self, answer):
        self.status, self.headers, self.text = answer.status, answer.headers, answer.read().decode()

    def json(self):
        assert self.status == 200, (self.status, self.text)
        return json.loads(self.text)


def ask(where, path, method="GET", **headers):
    """`where`: a port of 127.0.0.1, or the path of a socket."""
    connection = http.client.HTTPConnection("127.0.0.1", where, timeout=20) if isinstance(where, int) else Unix(where)
    with contextlib.closing(connection):
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return Answer(connection.getresponse())


def answers(where):
    try:
        return ask(where, "/api/activity").status == 200
    except OSError:
        return False


@pytest.fixture
def page(make):
    """A mount with a page at a port: (world, mount, port)."""
    world, port = make.world(), free_port("127.0.0.1")
    return world, make.mount(world, "--status-page", f"127.0.0.1:{port}"), port


def sockets_of(pid):
    """Inodes of the sockets that a process has."""
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(each)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def listening():
    """Inodes of the TCP sockets of this machine that listen, and the paths of the unix ones by theirs."""
    tcp = {line.split()[9] for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
           if line.split()[3] == "0A"}
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return tcp, {row[6]: row[7] for row in rows if int(row[3], 16) & 0x10000 and len(row) > 7}


# G1: where it is


def test_G1_nothing_listens_unless_it_is_asked_for(make, root):
    world = make.world()
    mount = make.mount(world)
    tcp, unix = listening()
    for pid in (mount.pid, mount.worker):
        assert not sockets_of(pid) & tcp
        assert {unix[each].rsplit("/", 1)[1] for each in sockets_of(pid) & set(unix)} <= {"control.sock"}
    port = free_port("127.0.0.1")
    other = make.mount(world, "--status-page", f"127.0.0.1:{port}")
    assert len(sockets_of(other.worker) & listening()[0]) == 1  # so it would have been seen


@pytest.mark.parametrize("address", ["0.0.0.0:9123", "[::]:9123", "192.0.2.1:80", "localhost:9123", "127.0.0.1", "127.0.0.1:0",
                                     "127.0.0.1:70000", "[::1]", "unix:here", "unix:/", "9123", ""])
def test_G1_no_other_machine_can_ask(make, address):
    mount = make.mount(start=False)
    file = mount.box / "config.toml"
    file.write_text(f'# a comment\nstatus_page = "{address}"\n')
    refused(mount.hffs("config", "check", file), 2, r"config\.toml:2: status_page: .*this machine alone")
    refused(mount.hffs(*mount.command("--status-page", address)[1:]), 2, "--status-page: .*this machine alone")


def test_G1_the_settings_say_where_it_is(make):
    mount = make.mount(start=False)
    file = mount.box / "config.toml"
    file.write_text('status_page = "[::1]:9123"\n')
    told = json.loads(mount.hffs("config", "check", file, "--json").out)["settings"]["status_page"]
    assert told == {"value": "[::1]:9123", "source": "file", "from": str(file)}
    told = json.loads(mount.hffs("config", "check", file, "--json", "--status-page", "off").out)["settings"]["status_page"]
    assert told == {"value": "off", "source": "flag", "from": "--status-page"}


def test_G1_what_is_in_the_way_is_named(make):
    mount = make.mount(start=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(mount.hffs(*mount.command("--status-page", f"127.0.0.1:{port}")[1:]), 13, f"status page: somebody listens at 127.0.0.1:{port}")
    file = mount.box / "note.txt"
    file.write_text("mine")
    refused(mount.hffs(*mount.command("--status-page", f"unix:{file}")[1:]), 14, f"{file} is there, and is no socket")
    assert file.read_text() == "mine"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "[::1]"])
def test_G1_each_address_of_this_machine(make, address):
    port = free_port("127.0.0.1")
    make.mount(make.world(), "--status-page", f"{address}:{port}")
    with contextlib.closing(http.client.HTTPConnection(address.strip("[]"), port, timeout=20)) as connection:
        connection.request("GET", "/api/activity")
        assert connection.getresponse().status == 200


def test_G2_a_socket_is_for_who_runs_the_daemon_alone(make, root):
    mount = make.mount(start=False)
    path = mount.box / ("a socket with a name too long for an address of the kernel " * 2).strip()
    path.mkdir()
    path = path / "page.sock"
    mount.args += ["--status-page", f"unix:{path}"]
    mount.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and path.is_socket()
    assert ask_unix(path).json()["now"]["mount_point"] == str(mount.point)

    def try_it(folder):
        os.chdir(folder)
        import socket as library
        library.socket(library.AF_UNIX).connect("page.sock")
    for each in (path.parent, *path.parents):
        if str(each).startswith(str(mount.box)):
            each.chmod(0o755)
    with pytest.raises(PermissionError):
        in_child(try_it, str(path.parent), user=BOB)
    mount.kill9()  # it leaves the socket's file
    assert path.is_socket()
    mount.remount()
    assert ask_unix(path).status == 200
    mount.umount()
    assert not path.exists()


def ask_unix(path, what="/api/activity"):
    """Where its path is too long for an address."""
    folder = os.open(path.parent, os.O_PATH)
    try:
        return ask(f"/proc/self/fd/{folder}/{path.name}", what)
    finally:
        os.close(folder)


# G2: who may look


def fetch(port, path):
    import http.client as library
    connection = library.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    return [answer.status, answer.read().decode()]


def open_and_wait(path):
    file = open(path, "rb")
    say(len(file.read()))
    hear()


def test_G2_each_sees_his_own(make, root):
    world, port = make.world(), free_port("127.0.0.1")
    token = world.hub.add_user("alice")
    mount = make.mount(world, "--allow-other", "--status-page", f"127.0.0.1:{port}")
    secret = world.add({"model.bin": fresh_bytes(MIB)}, private=True, allowed=["alice"])
    public = world.add({"copy.bin": fresh_bytes(MIB)})
    hers = make.child(open_and_wait, str(mount.file(secret, "model.bin")), user=ALICE, prefix=["env", f"HF_TOKEN={token}"])
    his = make.child(open_and_wait, str(mount.file(public, "copy.bin")), user=BOB)
    assert hers.heard() == MIB and his.heard() == MIB
    readers = ask(port, "/api/activity").json()["readers"]
    assert {each["uid"] for each in readers} == {ALICE, BOB}
    repos = ask(port, "/api/repos").json()["repos"]
    assert {each["repo"] for each in repos} == {secret.name, public.name}
    for path in ("/api/activity", "/api/status", "/api/repos", "/metrics"):
        status, text = in_child(fetch, port, path, user=BOB)
        assert status == 200 and secret.name not in text, path
    assert [each["uid"] for each in json.loads(in_child(fetch, port, "/api/activity", user=BOB)[1])["readers"]] == [BOB]
    assert json.loads(in_child(fetch, port, "/api/repos", user=BOB)[1])["repos"][0]["repo"] == public.name
    files = f"/api/files?repo={secret.name}&commit={secret.commit}"
    assert ask(port, files).json()["files"][0]["path"] == "model.bin"
    status, text = in_child(fetch, port, files, user=BOB)
    assert status == 404 and "model.bin" not in text
    assert in_child(fetch, port, files.replace(secret.name, "acme/nowhere"), user=BOB)[0] == 404
    for child in (hers, his):
        child.tell()
        child.result()


def test_G2_where_the_mount_is_one_users_nobody_else_sees_anything(page, root):
    _, mount, port = page
    assert ask(port, "/api/status").json()["mount_point"] == str(mount.point)
    for path in ("/api/activity", "/api/status", "/api/repos", "/metrics"):
        status, text = in_child(fetch, port, path, user=BOB)
        assert status == 403 and str(mount.point) not in text, path


def test_G2_also_who_speaks_by_the_other_protocol(page, root):
    """An IPv6 socket reaches 127.0.0.1 as well, and stands in another table."""
    _, _, port = page

    def fetch_mapped(port):
        import socket as library
        with library.socket(library.AF_INET6) as connection:
            connection.connect(("::ffff:127.0.0.1", port))
            connection.sendall(b"GET /api/activity HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(12).decode()
    assert in_child(fetch_mapped, port) == "HTTP/1.1 200"
    assert in_child(fetch_mapped, port, user=BOB) == "HTTP/1.1 403"


# G3: what it takes


def test_G3_it_takes_questions_alone(page):
    _, _, port = page
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        told = ask(port, "/api/activity", method)
        assert told.status == 405 and told.headers["Allow"] == "GET, HEAD", method
    for path in ("/", "/api/activity", "/metrics"):
        told = ask(port, path, "HEAD")
        assert told.status == 200 and told.text == "" and int(told.headers["Content-Length"]) > 0
    assert ask(port, "/api/stop").status == 404 and ask(port, "/../etc/passwd").status == 404
    assert ask(port, "/api/files?repo=acme/x&commit=nonsense").status == 400
    assert ask(port, "/api/repos?from=-1").status == 400
    assert ask(port, "/api/activity", Content_Length="5").status == 400


@pytest.mark.parametrize("host,status", [
    ("localhost", 200), ("LocalHost:8080", 200), ("127.0.0.1:1", 200), ("[::1]", 200), ("[::1]:9", 200),
    ("evil.example", 421), ("evil.example:9123", 421), ("127.0.0.1.evil.example", 421), ("localhost.evil.example", 421),
    ("localhost.", 421), ("0.0.0.0", 421), ("127.1.2.3", 421), ("::1", 421), ("", 421)])
def test_G3_only_under_a_name_of_this_machine(page, host, status):
    _, _, port = page
    assert ask(port, "/api/activity", Host=host).status == status
    assert ask(port, "/", Host=host).status == status


def test_G3_no_other_site_asks(page):
    _, _, port = page
    for site, status in (("same-origin", 200), ("none", 200), ("same-site", 403), ("cross-site", 403)):
        for path in ("/api/activity", "/api/repos", "/metrics"):
            told = ask(port, path, Sec_Fetch_Site=site, Origin="http://evil.example")
            assert told.status == status, (site, path)
            assert not [name for name in told.headers if name.lower().startswith("access-control")]
    headers = ask(port, "/").headers
    assert "default-src 'self'" in headers["Content-Security-Policy"] and "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_G3_looking_asks_the_hub_nothing(make):
    world, port = make.world(), free_port("127.0.0.1")
    mount = make.mount(world, "--status-page", f"127.0.0.1:{port}", "--prefetch", "off")
    repo = world.add({"config.json": fresh_bytes(300), "model.bin": fresh_bytes(4 * MIB)})
    with open(mount.file(repo, "model.bin"), "rb") as file:
        file.read(10)
    with quiet(world):
        [known] = ask(port, "/api/repos?from=0").json()["repos"]
        assert known["repo"] == repo.name and known["commits"][0]["commit"] == repo.commit
        told = ask(port, f"/api/files?repo={repo.name}&commit={repo.commit}&from=0").json()
        files = {each["path"]: each for each in told["files"]}
        assert set(files) == {"config.json", "model.bin"} and told["next"] is None
        parts = files["model.bin"]["here_by_part"]
        assert len(parts) == 64 and parts[0] == 100 and parts[-1] == 0
        assert ask(port, "/api/files?repo=acme/never-heard-of&commit=" + "1" * 40).status == 404
        ask(port, "/api/status").json()


# G4: whoever asks, the mount goes on


@pytest.mark.limit(180)
def test_G4_slow_and_hostile_clients_hold_up_nobody(page):
    world, mount, port = page
    repo = world.add({"config.json": fresh_bytes(300)})
    dripping, ended = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)], threading.Event()

    def drip():
        while not ended.wait(1):
            for each in dripping:
                with contextlib.suppress(OSError):
                    each.sendall(b"G" if not hasattr(drip, "begun") else b"x")
            drip.begun = True
    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        worker = mount.worker
        began = time.monotonic()
        assert len(mount.file(repo, "config.json").read_bytes()) == 300
        assert mount.status()["version"] and time.monotonic() - began < 5
        # They are let go though each of them says something every second.
        eventually(lambda: answers(port), 60, "an answer of the page beside 100 that drip")
    finally:
        ended.set()
        thread.join()
        for each in dripping:
            each.close()
    for text in (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * MIB, b"GET /" + b"y" * MIB, b"\0" * MIB,
                 b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 100_000,
                 b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n" + b"z" * MIB):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            with contextlib.suppress(OSError):
                client.sendall(text)
            with contextlib.suppress(OSError):
                assert not client.recv(20).startswith(b"HTTP/1.1 200")
    assert answers(port) and mount.worker == worker
    assert "was not answered" not in mount.log()


def test_G4_who_does_not_take_an_answer_is_left(page):
    """Many answers are asked for, and none of them read."""
    _, mount, port = page
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(2)
        with contextlib.suppress(OSError):
            for _ in range(2000):
                client.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10)
        assert answers(port)
    assert Path(f"/proc/{mount.worker}/statm").exists()


# G5: workers come and go


def test_G5_it_outlives_its_worker(page):
    world, mount, port = page
    worker = mount.worker
    os.kill(worker, signal.SIGKILL)
    began = time.monotonic()
    eventually(lambda: answers(port), 5, "an answer of the next worker")
    assert time.monotonic() - began < 5
    assert ask(port, "/api/status").json()["worker"]["restarts"] == 1
    assert mount.worker != worker
    # And the one that is replaced answers until the other does.
    second = mount.worker
    failed, ended = [], threading.Event()

    def look():
        while not ended.wait(0.02):
            try:
                if ask(port, "/api/status").status != 200:
                    failed.append("another answer")
            except ConnectionResetError:
                pass  # the old worker had it
            except http.client.RemoteDisconnected:
                pass
            except OSError as error:
                failed.append(repr(error))
    thread = threading.Thread(target=look)
    thread.start()
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: is_gone(second), 20, "the end of the old worker")
    eventually(lambda: mount.hffs("status", "--state-dir", mount.state).code == 0, 20, "the new worker")
    eventually(lambda: answers(port), 5, "an answer of the page")
    ended.set()
    thread.join()
    assert not failed, failed


def test_G5_with_other_settings_it_stays_or_goes(make):
    world, port, next_port = make.world(), free_port("127.0.0.1"), free_port("127.0.0.1")
    mount = make.mount(world, config=f'status_page = "127.0.0.1:{port}"\n')
    first = mount.worker
    mount.config.write_text(f'status_page = "127.0.0.1:{next_port}"\n')
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: is_gone(first), 20, "the end of the first worker")
    eventually(lambda: answers(port), 10, "an answer at the place that it has")
    assert not answers(next_port) and "status_page has changed" in mount.log()
    second = ask(port, "/api/status").json()["worker"]["pid"]
    mount.config.write_text("")
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: is_gone(second), 20, "the end of the second worker")

    def is_refused():
        with pytest.raises(OSError) as told:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            raise OSError("it was accepted")
        return isinstance(told.value, ConnectionRefusedError)
    eventually(is_refused, 10, "a place where nobody listens")
    mount.umount()


# G6: figures


def parsed(text):
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed: scripts/setup --clients")
    return {family.name: family for family in parser.text_string_to_metric_families(text)}


def test_G6_every_figure_in_the_format_of_prometheus(page):
    world, mount, port = page
    repo = world.add({"config.json": fresh_bytes(300), "model.bin": fresh_bytes(3 * MIB)})
    mount.file(repo, "model.bin").read_bytes()
    eventually(lambda: mount.metric("blobs_verified") == 1, 10, "a verdict")
    told = ask(port, "/metrics")
    assert told.status == 200 and told.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = parsed(told.text)
    status = mount.status()
    for name, value in status["metrics"].items():
        family = families[f"hffs_{name}"]
        assert family.type in ("counter", "gauge") and len(family.documentation) > 10, name
        [sample] = family.samples
        assert sample.name == f"hffs_{name}" + ("_total" if family.type == "counter" else ""), name
        # What the looking itself makes may have come in between.
        assert sample.value == value or name.startswith("fuse_") and sample.value <= value, name
    assert {name for name, family in families.items() if family.type == "gauge"} >= {
        "hffs_reads_waiting", "hffs_overlay_nodes", "hffs_store_bytes", "hffs_store_free_bytes", "hffs_waiters", "hffs_readers",
        "hffs_requests_active"}
    assert families["hffs_content_bytes"].samples[0].value >= 3 * MIB
    assert families["hffs_store_bytes"].samples[0].value == status["store"]["used_bytes"]
    assert families["hffs_worker_restarts"].samples[0].value == 0
    assert families["hffs_build_info"].samples[0].labels == {"version": status["version"]}
    [endpoint] = families["hffs_endpoint_up"].samples
    assert endpoint.labels == {"endpoint": world.endpoint} and endpoint.value == 1
    # Another worker counts anew, and says that it is another.
    os.kill(mount.worker, signal.SIGKILL)
    eventually(lambda: answers(port), 5, "the next worker")
    assert parsed(ask(port, "/metrics").text)["hffs_worker_restarts"].samples[0].value == 1


def test_G6_promtool_finds_nothing_wrong(page):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("NO PROMTOOL here (Debian: prometheus)")
    _, _, port = page
    done = subprocess.run([promtool, "check", "metrics"], input=ask(port, "/metrics").text, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout + done.stderr, done


def test_G6_the_document_lists_them_all(page):
    _, _, port = page
    text = (ROOT / "docs/guides/status-page.md").read_text()
    for line in ask(port, "/metrics").text.splitlines():
        if line.startswith("# TYPE"):
            assert f"`{line.split()[2]}`" in text, line


# G7: the page in a browser


def processor_time(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def busy(make):
    """A mount where something goes on."""
    if reason := browser.why_not():
        pytest.skip(reason)
    world, port = make.world(), free_port("127.0.0.1")
    mount = make.mount(world, "--status-page", f"127.0.0.1:{port}", "--read-deadline", "2")
    whole = world.add({"config.json": fresh_bytes(600), "model.safetensors": fresh_bytes(6 * MIB),
                       "<img src=x onerror=alert(1)>.txt": b"a name"}, id="openai/whisper-tiny")
    part = world.add({"config.json": fresh_bytes(300), "pytorch_model.bin": fresh_bytes(48 * MIB)}, id="hpcai-tech/Open-Sora")
    lost = world.add({"data.bin": fresh_bytes(MIB)}, type="dataset", id="acme/speech")
    for name in whole.sizes:
        mount.file(whole, name).read_bytes()
    with open(mount.file(part, "pytorch_model.bin"), "rb") as file:
        for at in (0, 9, 10, 30):
            file.seek(at * MIB)
            file.read(10)
    stuck(world, mount, lost, "data.bin")
    with pytest.raises(OSError):
        mount.file(lost, "data.bin").read_bytes()
    return world, mount, port


@pytest.mark.limit(240)
def test_G7_the_page_shows_it(busy, make):
    world, mount, port = busy
    child = make.child(read_slowly, str(mount.repo("openai/whisper-tiny") / "snapshots/main/model.safetensors"))
    with browser.Browser() as window:
        window.open(f"http://127.0.0.1:{port}/")
        window.until("return document.querySelector('#endpoints li.up') !== null")
        assert world.endpoint in window.run("return document.getElementById('endpoints').textContent")
        assert str(mount.point) in window.run("return document.getElementById('mount').textContent")
        window.until("return document.getElementById('readers').textContent.includes('model.safetensors')")
        window.until("return document.querySelectorAll('#repos > details').length === 3")
        # What failed, with what to do.
        failed = window.run("return document.getElementById('failures').innerText")
        assert "read failed" in failed and "hffs status" in failed
        # A repository, opened, has its commit, and that its files.
        window.run("for (const each of document.querySelectorAll('#repos > details')) each.open = true")
        window.until("return document.querySelectorAll('#repos .parts').length >= 6")
        picture = "[...document.querySelectorAll('#repos details details .row')].find(each => each.innerText.includes('pytorch_model.bin'))"
        assert window.run(f"return {picture}.querySelectorAll('rect').length") in range(3, 20)
        assert "Open-Sora" in window.run("return document.getElementById('repos').innerText")
        # A name is text.
        assert "<img src=x" in window.run("return document.getElementById('repos').textContent")
        assert window.run("return document.images.length") == 0
        # The line of the chart is drawn.
        window.until("return looks.length > 3 && looks.some(each => each.network !== undefined)")
        assert window.run("""const canvas = document.getElementById('chart'), data = canvas.getContext('2d').getImageData(
            0, 0, canvas.width, canvas.height).data; return data.some(each => each !== 0)""")
        # All of it from here, and nothing to complain of.
        loaded = window.run("return performance.getEntriesByType('resource').map(each => each.name)")
        assert len(loaded) >= 4 and all(each.startswith(f"http://127.0.0.1:{port}/") for each in loaded), loaded
        assert window.complaints() == []
        # Another worker, under an open page.
        os.kill(mount.worker, signal.SIGKILL)
        eventually(lambda: answers(port), 5, "the next worker")
        window.until("return document.getElementById('trouble').hidden && looks.at(-1).metrics.fuse_lookups < 100")
    child.tell("end")
    child.result()


@pytest.mark.limit(240)
@pytest.mark.skipif(os.environ.get("HFFS_SCREENSHOTS") != "1", reason="HFFS_SCREENSHOTS=1 takes the pictures of docs/images anew")
@pytest.mark.parametrize("name,width,height,dark", [("status-page.png", 1080, 1250, False), ("status-page-phone.png", 390, 844, True)])
def test_G7_pictures_for_the_documents(busy, make, name, width, height, dark):
    world, mount, port = busy
    repo = world.add({"model-00001-of-00002.safetensors": fresh_bytes(240 * MIB)}, id="Qwen/Qwen3-8B")
    world.hub.faults.add("drip", on=("content", "bytes"), rate=2_000_000)
    with browser.Browser(width, height, dark) as window:
        window.open(f"http://127.0.0.1:{port}/")
        child = make.child(read_by_and_by, str(mount.file(repo, "model-00001-of-00002.safetensors")))
        window.until("return document.querySelectorAll('#repos > details').length >= 3")
        time.sleep(14)
        window.run("document.querySelector('#repos').replaceChildren()")
        window.until("return document.querySelectorAll('#repos > details').length === 4")
        window.run("window.scrollTo({top: 0, behavior: 'instant'})")
        time.sleep(0.5)
        folder = ROOT / "docs/images"
        folder.mkdir(exist_ok=True)
        window.screenshot(folder / name)
    child.stop()


def read_by_and_by(path):
    chosen = random.Random(1)
    with open(path, "rb") as file:
        while file.read(chosen.choice([1, 2, 3, 3]) << 19):
            time.sleep(0.1)


def read_slowly(path):
    with open(path, "rb") as file:
        while file.read(100_000):
            time.sleep(0.1)
    say("read")
    return hear()


@pytest.mark.limit(240)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_G7_on_a_telephone_light_and_dark(busy, dark):
    _, _, port = busy
    with browser.Browser(width=390, height=844, dark=dark) as window:
        window.open(f"http://127.0.0.1:{port}/")
        window.until("return document.querySelectorAll('#repos > details').length === 3")
        window.run("for (const each of document.querySelectorAll('#repos > details')) each.open = true")
        window.until("return document.querySelectorAll('#repos .parts').length >= 6")
        assert window.run("return document.documentElement.scrollWidth") <= 390
        light = window.run("""const [r, g, b] = getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number);
            return r + g + b > 384""")
        assert light is not dark
        assert window.complaints() == []


@pytest.mark.limit(240)
def test_G7_an_open_page_costs_the_daemon_little(busy):
    _, mount, port = busy
    worker, seconds = mount.worker, 10

    def cost():
        before = processor_time(worker)
        time.sleep(seconds)
        return (processor_time(worker) - before) / seconds
    alone = cost()
    with browser.Browser() as window:
        window.open(f"http://127.0.0.1:{port}/")
        window.until("return looks.length > 1")
        watched = cost()
        assert window.run("return looks.length") >= seconds / 2
    assert watched - alone <= 0.02, (alone, watched)

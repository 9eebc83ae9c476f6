# SPDX-License-Identifier: Apache-2.0
"""What is typed wrong, and where hffs cannot run: a message that helps, and the documented exit code."""
import json
import os
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from lab import ALICE, BOB, HFFS, MIB, ROOT, errno_of, eventually, hffs, is_mounted, later, mounts
from world import fresh_bytes


def refused(done, code, *words):
    """The exit code, one line for people, each of `words` in it, and nothing on stdout."""
    assert done.code == code, done
    for word in words:
        assert re.search(word, done.err), f"{word!r} is not said: {done}"
    assert done.err.startswith("hffs: "), done
    assert done.err.count("\n") == 1, f"more than one line: {done}"
    return True


@pytest.fixture
def idle(make):
    """A mount point and a state directory, with nothing between them yet."""
    return make.mount(start=False)


def try_mount(idle, *words, code, says=(), env=None, user=None):
    """In the foreground and in the background alike, and nothing is left."""
    for how in (["--foreground"], []):
        done = idle.hffs("mount", idle.point, "--state-dir", idle.state, "--endpoint", "http://127.0.0.1:9", *how, *words,
                         env=env, timeout=20, user=user)
        refused(done, code, *says)
        assert not is_mounted(idle.point)


# Words


@pytest.mark.parametrize("words, says", [
    (["mount", "/tmp", "--nonsense"], ["--nonsense", "hffs mount --help"]),
    (["moutn", "/tmp"], ["moutn", "did you mean 'hffs mount'"]),
    (["frobnicate"], ["frobnicate", "--help"]),
    (["mount"], ["MNT"]), (["umount"], ["MNT"]), (["path"], ["REPO"]), (["import"], ["PATH"]), (["export", "a/b"], ["DIR"]),
    (["status", "--jsn"], ["--jsn"]),
    (["mount", "/tmp", "--ref-ttl", "soon"], ["ref-ttl"]),
    (["mount", "/tmp", "--endpoint"], ["endpoint"]),
    (["mount", "/tmp", "extra"], ["extra"]),
    (["run"], ["COMMAND"]), (["completion"], ["SHELL"]), (["completion", "tcsh"], ["bash, zsh and fish"]),
    (["complete-repo"], ["complete-repo", "--help"]),
])
def test_words_that_are_wrong(words, says):
    refused(hffs(*words), 2, *says)


def test_no_command_shows_what_there_is():
    done = hffs()
    assert done.code == 2 and "mount" in done.out and "umount" in done.out and done.err.startswith("hffs: ")


@pytest.mark.parametrize("words", [["--help"], ["mount", "--help"], ["umount", "--help"], ["status", "--help"],
                                   ["path", "--help"], ["import", "--help"], ["export", "--help"], ["env", "--help"], ["run", "--help"],
                                   ["doctor", "--help"], ["completion", "--help"], ["--version"], ["version"]])
def test_words_of_help(words):
    done = hffs(*words)
    assert done.code == 0 and done.out and not done.err
    if words[-1] == "--help":
        assert "xample" in done.out


# Settings


@pytest.mark.parametrize("flag, value, says", [
    ("--log-level", "loud", ["loud", "debug"]), ("--endpoint", "huggingface.co", ["https://"]),
    ("--endpoint", "ftp://x", ["ftp://x"]), ("--endpoint", "https://me:secret@x", ["user name"]),
    ("--ref-ttl", "-1", ["--ref-ttl"]), ("--read-deadline", "-5", ["--read-deadline"]),
    ("--log-file", "/nonexistent/folder/log", ["/nonexistent/folder/log"]),
])
def test_flags_with_wrong_values(idle, flag, value, says):
    try_mount(idle, flag, value, code=3 if flag == "--log-file" else 2, says=says)


@pytest.mark.parametrize("text, says", [
    ("nonsense = 1\n", ["config.toml:1", "nonsense", "ref_ttl"]),
    ("\n\noffline = \"yes\"\n", ["config.toml:3", "offline", "true or false"]),
    ("endpoints = \"https://x\"\n", ["config.toml:1", "endpoints", "list"]),
    ("endpoints = [\"x\"]\n", ["config.toml:1", "endpoints"]),
    ("ref_ttl = -1\n", ["config.toml:1", "ref_ttl", "seconds"]),
    ("log_level = \"loud\"\n", ["config.toml:1", "log_level", "debug"]),
    ("this is not toml\n", ["config.toml:1"]), ("[section\n", ["config.toml:1"]),
    ("token_file = \"/nonexistent/token\"\n", ["/nonexistent/token"]),
    ("internal_hosts = \"minio.lab\"\n", ["config.toml:1", "internal_hosts", "list of hosts"]),
    ("internal_hosts = [\"http://minio.lab\"]\n", ["config.toml:1", "internal_hosts"]),
    ("internal_hosts = [\"minio.lab:9000\"]\n", ["config.toml:1", "internal_hosts"]),
    ("internal_hosts = [\"*.lab\"]\n", ["config.toml:1", "internal_hosts"]),
    ("internal_hosts = [\".\"]\n", ["config.toml:1", "internal_hosts"]),
    ("allow_other = true\n[offline]\nx = 1\n", ["config.toml", "offline"]),
])
def test_configuration_that_is_wrong(idle, text, says):
    file = idle.box / "config.toml"
    file.write_text(text)
    try_mount(idle, "--config", file, code=2, says=says)


def test_configuration_that_cannot_be_read(idle, root):
    try_mount(idle, "--config", idle.box / "none.toml", code=2, says=["none.toml", "No such file"])
    try_mount(idle, "--config", idle.box, code=2, says=[str(idle.box)])
    file = idle.box / "config.toml"
    file.write_text("offline = true\n")
    file.chmod(0o600)
    for each in (idle.point, idle.home):
        os.chown(each, ALICE, ALICE)
    try_mount(idle, "--config", file, code=2, says=["config.toml", "Permission denied"], user=ALICE)


@pytest.mark.parametrize("env, says", [({"HF_ENDPOINT": "nonsense"}, ["HF_ENDPOINT"]), ({"HFFS_LOG": "loud"}, ["HFFS_LOG"]),
                                       ({"HF_TOKEN": "hf_\u00e9\n"}, ["HF_TOKEN"])])
def test_environment_that_is_wrong(idle, env, says):
    done = idle.hffs("mount", idle.point, "--state-dir", idle.state, "--foreground", env=env, timeout=20)
    refused(done, 2, *says)
    assert "hf_" not in done.err, "a token is printed"


def test_precedence_of_settings(make):
    """Flag over environment over file over default."""
    worlds = [make.world() for _ in range(3)]
    repos = [world.add(id=f"acme/from-{number}") for number, world in enumerate(worlds)]
    config = f"endpoints = [\"{worlds[0].endpoint}\"]\n"
    mount = make.mount(endpoints=[], config=config, env={"HF_ENDPOINT": worlds[1].endpoint}, start=False)

    def served():
        mount.remount()
        found = [errno_of(os.stat, mount.repo(repo.id)) == 0 for repo in repos]
        mount.umount()
        shutil.rmtree(mount.state)
        return found
    mount.endpoints = [worlds[2].endpoint]
    assert served() == [False, False, True]
    mount.endpoints = []
    assert served() == [False, True, False]
    del mount.env["HF_ENDPOINT"]
    assert served() == [True, False, False]


# Mount points


def test_mount_points_that_will_not_do(idle):
    idle.point.rmdir()
    try_mount(idle, code=3, says=[str(idle.point), "does not exist", "mkdir -p"])
    idle.point.write_text("")
    try_mount(idle, code=19, says=["not a directory"])
    idle.point.unlink()
    idle.point.mkdir()
    (idle.point / "something").write_text("")
    try_mount(idle, code=21, says=["not empty", "something"])
    assert (idle.point / "something").exists()


def test_mount_point_that_is_busy(make, root):
    world = make.world()
    mount = make.mount(world)
    other = make.folder()
    done = mount.hffs("mount", mount.point, "--state-dir", other)
    refused(done, 13, "mounted", "hffs umount")
    assert mount.status()["mount_point"] == str(mount.point), "the first mount suffered"
    subprocess.run(["mount", "-t", "tmpfs", "none", other], check=True)
    try:
        refused(mount.hffs("mount", other, "--state-dir", mount.box / "state2"), 13, "tmpfs")
    finally:
        subprocess.run(["umount", other], check=True)


# State directories


def test_state_directory_in_use(make):
    mount = make.mount(make.world())
    other = make.folder()
    for how in ([], ["--foreground"]):
        done = mount.hffs("mount", other, "--state-dir", mount.state, *how)
        refused(done, 13, str(mount.worker), "in use")
        assert not is_mounted(other)
    assert mount.status()["pid"] == mount.pid


def test_state_directory_of_a_newer_hffs(idle):
    (idle.state / "hffs-v2").mkdir(parents=True)
    try_mount(idle, code=16, says=["hffs-v2", "newer"])
    shutil.rmtree(idle.state)
    (idle.state / "hffs-v1").mkdir(parents=True)
    (idle.state / "hffs-v1/FORMAT").write_text("hffs-store\nversion 7\nblock 1048576\n")
    try_mount(idle, code=16, says=["version 7"])
    (idle.state / "hffs-v1/FORMAT").write_text("something else\n")
    try_mount(idle, code=16, says=["FORMAT"])


def test_state_directory_that_cannot_be_written(make, root):
    idle = make.mount(start=False, user=ALICE)
    idle.state.mkdir(mode=0o755)
    done = idle.hffs("mount", idle.point, "--state-dir", idle.state, "--foreground", timeout=20)
    refused(done, 4, str(idle.state), "Permission denied")


def test_state_directory_in_the_mount_point(idle):
    done = idle.hffs("mount", idle.point, "--state-dir", idle.point / "state", "--foreground", timeout=20)
    refused(done, 2, "lies in the mount point", "--state-dir")


def test_state_directory_on_a_network_file_system(make):
    """Any FUSE file system counts: nobody knows what is below it."""
    mount = make.mount(make.world())
    below = mount.point / "tmpstate"
    below.mkdir()
    other = make.folder()
    done = mount.hffs("mount", other, "--state-dir", below, "--foreground", timeout=20)
    refused(done, 16, "FUSE", "local disk")


# The machine


def test_no_dev_fuse(idle, root):
    script = ("mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && "
              f"exec {HFFS} mount {idle.point} --state-dir {idle.state} --endpoint http://127.0.0.1:9 --foreground")
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, env=idle.env, timeout=20)
    assert done.returncode == 16, done
    assert "/dev/fuse" in done.stderr and "modprobe fuse" in done.stderr


def unprivileged(idle, device_mode, more=""):
    """The mount as a user without rights, in a mount namespace where /dev/fuse is as we like."""
    for each in (idle.point, idle.home):
        os.chown(each, ALICE, ALICE)
    os.chown(idle.box, ALICE, ALICE)
    script = (f"mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && mknod -m {device_mode} /dev/fuse c 10 229 && {more} "
              f"exec setpriv --reuid {ALICE} --regid {ALICE} --clear-groups {HFFS} mount {idle.point} "
              f"--state-dir {idle.state} --endpoint http://127.0.0.1:9 --foreground")
    return subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, env=idle.env, timeout=20)


def test_dev_fuse_that_may_not_be_opened(idle, root):
    done = unprivileged(idle, "600")
    assert done.returncode == 4, done
    assert "/dev/fuse" in done.stderr and done.stderr.count("\n") == 1


def test_no_fusermount3_and_no_root(idle, root):
    hide = "".join(f"mount --bind /dev/null {path} && " for path in
                   {os.path.realpath(found) for found in
                    (shutil.which(name) for name in ("fusermount3", "fusermount")) if found})
    done = unprivileged(idle, "666", hide)
    assert done.returncode in (4, 16), done
    assert "fusermount3" in done.stderr


# The other commands


def test_umount_of_what_is_no_hffs(make, root):
    folder = make.folder()
    refused(hffs("umount", folder), 3, str(folder), "no hffs is mounted")
    refused(hffs("umount", "/nonexistent/folder"), 3, "/nonexistent/folder")
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    try:
        refused(hffs("umount", folder), 3, "tmpfs")
        assert is_mounted(folder)
    finally:
        subprocess.run(["umount", folder], check=True)


def test_umount_while_files_are_open(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(100_000)})
    with open(mount.file(repo, "model.bin"), "rb") as file:
        file.read(10)
        refused(mount.hffs("umount", mount.point), 13, "in use", "--lazy")
        assert mount.file(repo, "model.bin").read_bytes() == repo.content["model.bin"]
        done = mount.hffs("umount", mount.point, "--lazy", timeout=30)
        assert done.code == 0, done
        assert not is_mounted(mount.point)
    mount.wait_gone()


def test_status_for_people_and_for_programs(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(2_000_000)})
    mount.file(repo, "model.bin").read_bytes()
    eventually(lambda: mount.status()["store"]["verified_blobs"] == 1)
    for words in (["status", mount.point], ["status", "--state-dir", mount.state]):
        done = mount.hffs(*words)
        assert done.code == 0 and str(mount.point) in done.out and world.endpoint in done.out
        found = json.loads(mount.hffs(*words, "--json").out)
        assert found["pid"] == mount.pid
    assert found["mount_point"] == str(mount.point) and found["state_dir"] == str(mount.state)
    assert found["endpoints"] == [{"endpoint": world.endpoint, "up": True, "last_error": ""}]
    assert found["store"]["bytes"] + found["store"]["unclaimed_bytes"] == 2_000_000
    assert found["catalog"] == {"repos": 1, "commits": 1, "files": 1, "self_attested": 0}
    assert found["metrics"]["content_bytes"] == 2_000_000
    assert found["metrics"]["api_requests"] == len(world.api())


def test_status_where_no_daemon_is(make):
    folder = make.folder()
    refused(hffs("status", folder), 3, "no hffs is mounted")
    refused(hffs("status", "--state-dir", folder), 7, "hffs mount|no daemon|running")
    mount = make.mount(make.world())
    mount.kill9()
    refused(mount.hffs("status", mount.point), 7, "died", "hffs umount")


def test_path(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"a.txt": b"a"})
    rows = world.add({"b.txt": b"b"}, type="dataset")
    branch = world.hub.push(repo.name, {"a.txt": b"2"}, branch="feature/x")
    for where in (["--mount", mount.point], ["--state-dir", mount.state]):
        for word, target, commit in ((repo.id, repo, repo.commit), (f"{repo.id}@main", repo, repo.commit),
                                     (f"{repo.id}@{repo.commit}", repo, repo.commit),
                                     (f"{repo.id}@feature/x", repo, branch),
                                     (f"datasets/{rows.id}", rows, rows.commit)):
            done = mount.hffs("path", word, *where)
            wanted = mount.repo(target.id, target.type) / "snapshots" / commit
            assert (done.code, done.out) == (0, f"{wanted}\n"), (word, done)
            assert os.path.isdir(done.out.strip())
        refused(mount.hffs("path", "acme/nowhere", *where), 3, "acme/nowhere")
        refused(mount.hffs("path", f"{repo.id}@nope", *where), 3, "nope")
        refused(mount.hffs("path", "a/b/c/d", *where), 2, "a/b/c/d", "ORG/NAME")
        refused(mount.hffs("path", f"{repo.id}@", *where), 2, "revision")


def test_control_socket_survives_strangers(make):
    """Anybody may speak to it; nobody may spoil it for others."""
    mount = make.mount(make.world())
    path = os.readlink(mount.point / ".hffs")
    for said in (b"\n", b"{}\n", b"[]\n", b"nonsense\n", b"{\"command\": 7}\n", b"{\"command\": \"dance\"}\n",
                 b"x" * 100_000 + b"\n", b"\xff\xfe\n", b"{\"command\": \"path\"}\n",
                 b"{\"command\": \"path\", \"repo\": \"../..\"}\n", b"[" * 4000 + b"\n",
                 b"{\"command\": \"import\", \"path\": 5}\n", b"{\"command\": \"import\", \"path\": \"tmp\"}\n",
                 b"{\"command\": \"import\", \"path\": \"/\", \"repo\": []}\n",
                 b"{\"command\": \"import-progress\", \"job\": \"1\", \"from\": -1}\n"):
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(path)
            try:
                client.sendall(said)
                answer = json.loads(client.makefile().readline())
                assert "error" in answer, (said[:40], answer)
            except (BrokenPipeError, ConnectionResetError):
                pass
    idle = [socket.socket(socket.AF_UNIX) for _ in range(10)]
    for each in idle:
        each.connect(path)
    assert mount.status()["pid"] == mount.pid
    for each in idle:
        each.close()
    assert not later(mount.status).join()[0]["offline"]


def test_who_does_not_take_its_answers_is_asked_for_no_more(make):
    """Answers that nobody takes would be kept until memory is full."""
    mount = make.mount(make.world())
    before, line = anonymous_bytes(mount.pid), b"{\"command\": \"status\"}\n"
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        client.connect(os.readlink(mount.point / ".hffs"))
        sent = 0
        try:
            while sent < 30_000:
                client.sendall(line * 100)
                sent += 100
        except TimeoutError:
            pass
        assert sent < 30_000, "all of it was taken, and answered"
        assert mount.status()["pid"] == mount.pid
        assert anonymous_bytes(mount.pid) - before < 16 * MIB
        # Who listens again hears the rest.
        client.settimeout(10)
        answers = client.makefile()
        for _ in range(min(sent, 200)):
            assert json.loads(answers.readline())["pid"] == mount.pid


def anonymous_bytes(pid):
    [line] = [each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("RssAnon:")]
    return int(line.split()[1]) * 1024


def test_a_mount_for_one_user_answers_that_user(make, root):
    """What is private is seen by others through neither the mount nor its socket."""
    world = make.world()
    mount = make.mount(world)
    world.add({"a.txt": b"a"}, id="acme/private")
    os.listdir(mount.repo("acme/private"))
    for user in (ALICE, BOB):
        for words in (["status"], ["ls"], ["pins"], ["path", "acme/private"]):
            done = mount.hffs(*words, "--state-dir", mount.state, user=user)
            assert done.code == 4 and "another user's" in done.err and "acme" not in done.out, (words, done)
    assert "acme/private" in mount.hffs("ls", "--state-dir", mount.state).out


def test_nobody_but_the_owner_ends_a_daemon(make, root):
    mount = make.mount(make.world(), "--allow-other")
    done = mount.hffs("umount", mount.point, user=ALICE)
    assert done.code != 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(os.readlink(mount.point / ".hffs"))
        client.sendall(b"{\"command\": \"stop\"}\n")
        assert json.loads(client.makefile().readline()).get("ok")
    mount.wait_gone()
    assert str(mount.point) not in [where for where, _ in mounts()]


def test_exit_codes_are_the_documented_ones():
    text = (ROOT / "docs/SEMANTICS.md").read_text()
    table = text[text.index("## Exit codes"):].split("\n\n")[1]
    # Two columns of codes; some stand together.
    told = [code for row in table.splitlines()[2:] for cell in row.split("|")[1:-1:2] for code in re.findall(r"\d+", cell)]
    source = (ROOT / "src/base/error.cpp").read_text()
    ours = re.findall(r'^    \{"\w+", E\w+, (\d+), ', source, re.M)
    assert len(ours) == len(re.findall(r"^    \{\"", source, re.M)) > 20
    assert sorted(told, key=int) == sorted(["0", *ours], key=int)
    # Of what each is, no two say the same.
    meanings = [cell.strip() for row in table.splitlines()[2:] for cell in row.split("|")[2:-1:2] if cell.strip()]
    assert len(set(meanings)) == len(meanings)


def test_the_environment_s_ca_wins_over_the_file_s(make):
    """A flag over the environment, that over the file; a variable that leads nowhere is passed over."""
    world = make.world(nginx=True)
    repo = world.add({"model.bin": b"m" * 100_000})
    ours = make.folder() / "ours.pem"
    ours.write_bytes(open(world.hub.ca_file, "rb").read())
    other = make.folder() / "other.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                    "/CN=other", "-keyout", "/dev/null", "-out", str(other)], check=True, capture_output=True)
    for variable, in_file in ((ours, other), ("/nowhere/ca.pem", ours)):
        names = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
        mount = make.mount(world, "--read-deadline", "5", config=f'ca_bundle = "{in_file}"\n',
                           env=dict.fromkeys(names, str(variable)))
        assert mount.file(repo, "model.bin").read_bytes() == b"m" * 100_000


def test_repositories_are_written_in_many_ways(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"config.json": fresh_bytes(300)})
    data = world.add({"data.txt": fresh_bytes(300)}, type="dataset")
    there, its = [mount.repo(each.id, each.type) / "snapshots" / each.commit for each in (repo, data)]
    for text in (repo.name, f"{repo.name}@main", f"{repo.name}@{repo.commit}", f"https://huggingface.co/{repo.id}",
                 f"{world.endpoint}/{repo.id}/tree/main?x=1", f"https://hf.co/{repo.id}/blob/{repo.commit}/config.json",
                 f"hf://{repo.id}@main", f"hf://models/{repo.id}", str(mount.repo(repo.id)), str(mount.repo(repo.id) / "refs/main"),
                 str(mount.file(repo, "config.json"))):
        done = mount.hffs("path", text, "--state-dir", mount.state)
        assert (done.code, done.out.strip()) == (0, str(there)), (text, done)
    for text in (data.name, f"https://huggingface.co/datasets/{data.id}/resolve/main/data.txt", f"hf://datasets/{data.id}",
                 str(mount.repo(data.id, "dataset"))):
        done = mount.hffs("path", text, "--state-dir", mount.state)
        assert (done.code, done.out.strip()) == (0, str(its)), (text, done)
    for text in ("https://huggingface.co/", "hf://", "a b/c", "models--", "x@", "https://huggingface.co/a/b/tree/%2e%2e"):
        refused(mount.hffs("path", text, "--state-dir", mount.state), 2, "not a repository|no revision")
    refused(mount.hffs("gc", f"{repo.name}@main", "--state-dir", mount.state), 2, "names a revision")


def test_a_repository_that_is_mistyped_gets_a_suggestion(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"config.json": fresh_bytes(300)}, id="acme/whisper-tiny")
    assert mount.hffs("path", repo.id, "--state-dir", mount.state).code == 0
    for words in (["path", "acme/whisper-tinny"], ["prefetch", "acme/whisperr-tiny"], ["ls", "acne/whisper-tiny"],
                  ["pin", "acme/wisper-tiny"], ["explain", "acme/whisper-tinny@main"], ["verify", "acme/whispertiny"],
                  ["explain", mount.repo("acme/whisper-tine")]):
        refused(mount.hffs(*words, "--state-dir", mount.state), 3, "did you mean acme/whisper-tiny[?]")
    for word in ("path", "explain", "verify"):
        done = mount.hffs(word, "acme/something-else", "--state-dir", mount.state)
        assert refused(done, 3) and "did you mean" not in done.err


def test_names_of_others_do_not_command_a_terminal(make):
    """A ref, a file of a folder, a mount point, what was mistyped; ESC, and the one character that means ESC [."""
    world = make.world()
    mount = make.mount(world, start=False)
    mount.point.rmdir()
    mount.point = mount.box / "mnt\x1b[31m"
    mount.point.mkdir()
    mount.start()
    repo, name = world.add(), "v\u009b31m"
    world.hub.add_tag(repo.name, name)
    assert (mount.repo(repo.id) / "refs" / name).read_text() == repo.commit
    folder = make.folder()
    (folder / "ok.bin").write_bytes(b"1")
    (folder / "evil\x1b]0;x\x07.bin").write_bytes(b"2")

    def said(*words, code=0):
        done = mount.hffs(*words, *(() if str(mount.point) in map(str, words) else ("--state-dir", mount.state)))
        assert done.code == code, done
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.out + done.err), done
        return done.out + done.err
    assert "v?31m" in said("ls")
    assert "mnt?[31m" in said("status", mount.point)
    assert "mnt?[31m" in said("explain", mount.repo(repo.id))
    assert "evil?]0;x?.bin" in said("import", folder, "--repo", "acme/evil")
    assert "x?[31m" in said("path", "acme/x\x1b[31m", code=2)
    world.hub.delete_ref(repo.name, "tag", name)
    assert "v?31m" in said("ls", "--outdated")
    # Programs are told what it is.
    assert name in json.loads(mount.hffs("ls", "--json", "--state-dir", mount.state).out)[0]["commits"][0]["refs"]


# Every command


def table():
    return json.loads(hffs("commands", "--json").out)


def test_each_command_refuses_what_it_does_not_know():
    commands = table()
    assert len(commands) > 20
    for command in commands:
        name = command["name"].split()
        takes_any = any(each["repeatable"] for each in command["positionals"])
        enough = ["x"] * len(command["positionals"])
        refused(hffs(*name, "--no-such-flag", *enough), 2)
        if not takes_any:
            refused(hffs(*name, *enough, "one-too-many"), 2)
        if any(each["required"] for each in command["positionals"]):
            refused(hffs(*name), 2)
        for option in command["options"]:
            if option["value"] and not option["value"].startswith("["):
                refused(hffs(*name, option["names"][-1]), 2)


@pytest.mark.parametrize("words, said", [
    (["top", "--delay", "0"], "delay"), (["top", "--delay", "nan"], "delay"), (["adopt", "/nowhere/at/all"], "nowhere"),
    (["config"], "config --help"), (["completion", "tcsh"], "tcsh")], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_values_that_make_no_sense_are_refused(words, said):
    done = hffs(*words)
    assert done.code not in (0, 1) and said in done.err and done.out == "", done


def test_a_mount_point_in_the_store_is_refused(make):
    mount = make.mount(make.world())
    mount.umount()
    refused(mount.hffs("mount", mount.state / "hffs-v1/blobs", "--state-dir", mount.state), 2, "lies in the store")

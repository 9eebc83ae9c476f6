# SPDX-License-Identifier: Apache-2.0
"""E: what happens in a mount, and why: hffs top, hffs explain, and what is kept of errors. docs/SEMANTICS.md."""
import errno
import json
import os
import re
import time

import lab
from lab import ALICE, BOB, MIB, errno_of, eventually, in_child
from test_command_line import refused
from test_failure import read_it, stuck
from world import fresh_bytes


def activity(mount, user=None):
    done = mount.hffs("top", "--json", "--state-dir", mount.state, user=user)
    assert done.code == 0, done
    return json.loads(done.out)


def explained(mount, what, code=0, user=None, env=None):
    done = mount.hffs("explain", what, "--json", "--state-dir", mount.state, user=user, env=env)
    assert done.code == code, done
    return json.loads(done.out)


def waits(mount, user=None):
    return [each for each in activity(mount, user)["readers"] if each["waiting_ms"] is not None]


def test_E1_who_waits_is_named_with_file_and_time(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(3 * MIB)})
    path = mount.file(repo, "model.bin")
    stall = stuck(world, mount, repo, "model.bin")
    child = make.child(read_it, str(path))
    assert child.heard() == "open"
    [reader] = eventually(lambda: waits(mount), 5, "a reader that waits")
    assert reader["pid"] == child.process.pid and reader["uid"] == os.getuid() and reader["comm"].startswith("python")
    assert (reader["repo"], reader["commit"], reader["path"]) == (repo.name, repo.commit, "model.bin")
    assert (reader["size"], reader["mode"], reader["opens"]) == (3 * MIB, "fetched", 1)
    eventually(lambda: waits(mount)[0]["waiting_ms"] > 1000, 5, "a second of waiting")
    shown = mount.hffs("top", "--once", "--delay", "0.2", "--state-dir", mount.state)
    assert shown.code == 0 and "model.bin" in shown.out and str(child.process.pid) in shown.out and " s " in shown.out
    assert [each["pid"] for each in explained(mount, path)["file"]["readers"]] == [child.process.pid]
    stall.remove()
    assert child.result() == 3 * MIB
    assert waits(mount) == []
    [reader] = [each for each in activity(mount)["readers"] if each["path"] == "model.bin"]
    assert reader["bytes"] == 3 * MIB and reader["here"] == 3 * MIB


def test_E1_threads_of_a_process_are_one_reader(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(4 * MIB)})

    def read_by_threads(path):
        from concurrent.futures import ThreadPoolExecutor

        def piece(number):
            with open(path, "rb") as file:
                file.seek(number << 20)
                return len(file.read(1 << 20))
        with ThreadPoolExecutor(4) as pool:
            total = sum(pool.map(piece, range(4)))
        say("read")
        hear()
        return total
    child = make.child(read_by_threads, str(mount.file(repo, "model.bin")))
    assert child.heard() == "read"
    [reader] = [each for each in activity(mount)["readers"] if each["path"] == "model.bin"]
    assert (reader["pid"], reader["opens"]) == (child.process.pid, 4) and reader["bytes"] >= 4 * MIB
    child.tell("end")
    assert child.result() == 4 * MIB


def test_E2_an_error_is_kept_with_its_reason_and_its_remedy(make):
    world = make.world()
    mount = make.mount(world, "--read-deadline", "1")
    repo = world.add({"model.bin": fresh_bytes(2 * MIB)})
    path = mount.file(repo, "model.bin")
    os.stat(path)
    world.hub.down(origin=True)
    for _ in range(3):
        assert errno_of(lambda: open(path, "rb").read(10)) == errno.EIO
    failures = [each for each in activity(mount)["failures"] if each["operation"] == "read"]
    assert len(failures) == 1, failures
    [failure] = failures
    assert (failure["repo"], failure["path"], failure["uid"]) == (repo.name, "model.bin", os.getuid())
    assert failure["code"] in ("unreachable", "timed_out") and "hffs status" in failure["remedy"] and failure["count"] >= 3
    assert abs(failure["when"] - time.time()) < 60
    [told] = explained(mount, path)["failures"]
    assert told["message"] == failure["message"] and repo.name in told["message"]
    status = mount.hffs("status", "--state-dir", mount.state).out
    assert re.search(rf"^failed +read of .*{repo.name}.* by user {os.getuid()}: .*hffs status", status, re.M), status
    # One line a minute, with who, what, why and what to do.
    lines = [line for line in mount.log().splitlines() if "read failed" in line]
    assert len(lines) == 1 and "uid=" in lines[0] and repo.name in lines[0] and "hffs status" in lines[0], lines
    for words in ([path], [path, "--mount", mount.point], [repo.name]):
        done = mount.hffs("explain", *words, *(() if "--mount" in words else ("--state-dir", mount.state)))
        assert done.code == 0 and "failed" in done.out and "hffs status" in done.out and "down" in done.out, done


def test_E2_the_log_is_everybodys(make):
    """Who fails in a hundred ways within a minute has thirty lines, and the last one says so."""
    world = make.world()
    mount = make.mount(world, "--prefetch", "off")
    repo = world.add({f"{i}.bin": fresh_bytes(100) for i in range(100)})
    os.listdir(mount.file(repo, "0.bin").parent)
    mount.umount()
    mount.remount("--offline")
    for path in repo.content:
        assert errno_of(lambda path=path: open(mount.file(repo, path), "rb")) == errno.EIO
    lines = [line for line in mount.log().splitlines() if "open failed (offline)" in line]
    assert len(lines) == 30 and [line.endswith("is only counted") for line in lines] == [False] * 29 + [True], lines
    # What is told elsewhere is not less for it.
    assert len(json.loads(mount.hffs("status", "--json", "--state-dir", mount.state).out)["failures"]) > 30


def test_E3_a_path_is_explained_from_name_to_bytes(make):
    world = make.world()
    mount = make.mount(world, "--prefetch", "off")
    repo = world.add({"config.json": fresh_bytes(300), "model.bin": fresh_bytes(4 * MIB)})
    path = mount.repo(repo.id) / "snapshots/main/model.bin"
    with open(path, "rb") as file:
        file.read(10)
    told = explained(mount, path)
    assert told["repo"] == repo.name and told["verdict"] == {"seen": True, "public": True} and told["problem"] is None
    assert [link["target"] for link in told["links"]] == [repo.commit, f"../../blobs/{repo.etags['model.bin']}"]
    file = told["file"]
    assert (file["repo"], file["commit"], file["path"]) == (repo.name, repo.commit, "model.bin")
    assert file["hash"] == repo.etags["model.bin"] and file["size"] == 4 * MIB and not file["verified"]
    assert 0 < file["here"] < 4 * MIB and file["here"] + file["missing"] == 4 * MIB
    assert file["here_by_part"][0] == 100 and file["here_by_part"][-1] == 0 and "fetched" in file["next_open"]
    with open(path, "rb") as reader:
        reader.read()
    whole = eventually(lambda: (lambda file: file if file["verified"] else None)(explained(mount, path)["file"]), 10, "a verdict")
    assert whole["missing"] == 0 and set(whole["here_by_part"]) == {100}
    status = json.loads(mount.hffs("status", "--json", "--state-dir", mount.state).out)
    assert ("passthrough" in whole["next_open"]) == (status["mode"] == "passthrough")
    # A ref, a repository, its directory, and what is not there.
    ref = explained(mount, f"{repo.name}@main")
    assert ref["ref"]["commit"] == repo.commit and ref["ref"]["since"] is not None and not ref["ref"]["frozen"]
    assert explained(mount, mount.repo(repo.id))["kind"] == "a repository"
    assert explained(mount, mount.point)["kind"] == "the root of the mount"
    gone = explained(mount, mount.file(repo, "nope.bin"), code=3)
    assert gone["problem"]["code"] == "not_found" and gone["problem"]["at"].endswith("nope.bin")
    assert explained(mount, "acme/nowhere", code=3)["verdict"]["seen"] is False
    # From a directory in the mount, by a link from outside, and a file of one's own.
    (mount.box / "link").symlink_to(mount.repo(repo.id))
    assert explained(mount, mount.box / "link/snapshots/main/model.bin")["file"]["hash"] == file["hash"]
    own = mount.repo(repo.id) / "trees/mine.json"
    own.write_text("{}")
    assert "of your own" in explained(mount, own)["kind"]
    assert explained(mount, f"{mount.repo(repo.id)}/refs/../snapshots/./main/model.bin")["file"]["hash"] == file["hash"]
    assert explained(mount, mount.box / "link/../models--acme--nowhere", code=3)["problem"]["code"] == "not_found"
    # The name of a repository, in a directory of the mount, is no path in it; what is one stays one.
    inside = mount.file(repo, "model.bin").parent
    for words, code, what in (([repo.name], 0, "what +a ref"), (["model.bin"], 0, "what +a file's content"),
                              (["nope.bin"], 3, "^path .*/nope.bin$")):
        done = lab.hffs("explain", *words, cwd=inside)
        assert done.code == code and re.search(what, done.out, re.M), done
    refused(mount.hffs("explain", "/etc/passwd"), 3, "not in a mount", "findmnt")
    refused(mount.hffs("explain", "./nothing/here"), 3, "not in a mount")
    refused(mount.hffs("explain"), 2, "PATH")


def test_E3_a_ref_is_as_old_as_the_hubs_word(make):
    world = make.world()
    mount = make.mount(world, "--ref-ttl", "1")
    repo = world.add()
    ref = mount.repo(repo.id) / "refs/main"
    ref.read_text()
    first = explained(mount, ref)["ref"]
    assert first["since"] <= first["confirmed"]
    # The commit is the same, and the Hub says so again.
    again = eventually(lambda: ref.read_text() and (lambda told: told if told["confirmed"] > first["confirmed"] + 1 else None)(
        explained(mount, ref)["ref"]), 15, "another word of the Hub")
    assert again["since"] == first["since"] and again["commit"] == first["commit"]
    said = mount.hffs("explain", ref, "--state-dir", mount.state).out
    assert re.search(r"^commit +[0-9a-f]{40}\n +as the Hub said \d+ s ago; first seen \d{4}-\d\d-\d\d$", said, re.M), said
    # One that was made to stay is as old as whoever made it: what the Hub says is of another commit.
    pushed = world.push(repo, {"config.json": b"{}"})
    eventually(lambda: ref.read_text() == pushed.commit, 15, "the next commit")
    assert mount.hffs("pin", f"{repo.name}@{repo.commit}", "--ref", "main", "--state-dir", mount.state).code == 0
    frozen = explained(mount, ref)["ref"]
    assert frozen["frozen"] and frozen["commit"] == repo.commit and frozen["since"] is None and frozen["confirmed"] is None
    assert mount.hffs("unpin", repo.name, "--ref", "main", "--state-dir", mount.state).code == 0
    mount.umount()
    mount.remount("--offline")
    assert explained(mount, ref)["ref"]["confirmed"] is None
    assert "the Hub has not said so since the daemon began; first seen" in mount.hffs("explain", ref, "--state-dir", mount.state).out


def test_E3_of_anothers_dead_mount_it_is_said_who_takes_it_away(make, root):
    mount = make.mount(make.world(), "--allow-other")
    mount.kill9()
    ours = mount.hffs("explain", mount.repo("acme/x"))
    refused(ours, 7, "has died", "mount there again", f": hffs umount {mount.point}")
    theirs = mount.hffs("explain", mount.repo("acme/x"), user=ALICE)
    refused(theirs, 7, "has died", f"root cleans up with: sudo hffs umount {mount.point}")


def test_E3_offline_what_is_missing_is_said_to_be_refused(make):
    world = make.world()
    mount = make.mount(world, "--prefetch", "off")
    repo = world.add({"model.bin": fresh_bytes(3 * MIB)})
    with open(mount.file(repo, "model.bin"), "rb") as file:
        file.read(10)
    mount.umount()
    mount.remount("--offline")
    told = explained(mount, mount.file(repo, "model.bin"))
    assert "offline" in told["file"]["next_open"] and told["file"]["missing"] > 0
    assert errno_of(lambda: open(mount.file(repo, "model.bin"), "rb")) == errno.EIO
    [failure] = explained(mount, mount.file(repo, "model.bin"))["failures"]
    assert failure["code"] == "offline" and "hffs import" in failure["remedy"]
    mount.umount()
    mount.remount("--offline", "--offline-partial")
    assert "refused" not in explained(mount, mount.file(repo, "model.bin"))["file"]["next_open"]
    mount.umount()
    mount.remount("--verify", "strict")
    assert "verified before" in explained(mount, mount.file(repo, "model.bin"))["file"]["next_open"]


def open_and_read(path):
    with open(path, "rb") as file:
        return len(file.read())


def test_E4_each_hears_of_his_own(make, root):
    world = make.world()
    token = world.hub.add_user("alice")
    mount = make.mount(world, "--allow-other", "--read-deadline", "1")
    data = fresh_bytes(2 * MIB)
    secret = world.add({"model.bin": data}, private=True, allowed=["alice"])
    public = world.add({"copy.bin": data})
    path = str(mount.file(public, "copy.bin"))
    assert in_child(open_and_read, str(mount.file(secret, "model.bin")), user=ALICE, prefix=["env", f"HF_TOKEN={token}"]) == 2 * MIB
    assert in_child(open_and_read, path, user=BOB) == 2 * MIB
    [his] = activity(mount, user=BOB)["readers"]
    assert (his["uid"], his["repo"], his["path"]) == (BOB, public.name, "copy.bin")
    assert {each["uid"] for each in activity(mount)["readers"]} == {ALICE, BOB}
    # What another has is named by no word of an answer.
    for answer in (activity(mount, user=BOB), explained(mount, path, user=BOB)):
        assert secret.name not in json.dumps(answer)
    hidden = explained(mount, mount.file(secret, "model.bin"), code=3, user=BOB)
    nowhere = explained(mount, mount.repo("acme/nowhere") / "snapshots" / secret.commit / "model.bin", code=3, user=BOB)
    scrub = lambda told, name: json.dumps(told).replace(name, "NAME").replace(name.replace("/", "--"), "NAME")
    assert scrub(hidden, secret.id) == scrub(nowhere, "acme/nowhere")


def test_E4_the_words_of_an_error_name_no_other_place(make, root):
    """Two private repositories have the content: whichever is asked, each user hears of his own."""
    world = make.world()
    alice, bob = world.hub.add_user("alice"), world.hub.add_user("bob")
    mount = make.mount(world, "--allow-other", "--read-deadline", "1")
    data = fresh_bytes(2 * MIB)
    his = world.add({"his.bin": data}, private=True, allowed=["bob"])
    hers = world.add({"hers.bin": data}, private=True, allowed=["alice"])

    def try_it(path, do):
        try:
            return os.stat(path).st_size if do == "stat" else len(open(path, "rb").read())
        except OSError as error:
            return error.errno

    def as_each(do):
        return [in_child(try_it, str(mount.file(repo, name)), do, user=user, prefix=["env", f"HF_TOKEN={token}"])
                for repo, name, user, token in ((his, "his.bin", BOB, bob), (hers, "hers.bin", ALICE, alice))]
    assert as_each("stat") == [2 * MIB, 2 * MIB]
    world.hub.down(origin=True)
    assert as_each("read") == [errno.EIO, errno.EIO]
    for user, own, other in ((BOB, his, hers), (ALICE, hers, his)):
        [failure] = activity(mount, user=user)["failures"]
        assert failure["repo"] == own.name and other.name not in json.dumps(failure), failure
        assert failure["remedy"] and other.name not in mount.hffs("explain", mount.file(own, next(iter(own.content))), user=user).out


def test_E4_what_a_program_calls_itself_commands_no_terminal(make):
    world = make.world()
    mount = make.mount(world)
    repo = world.add({"model.bin": fresh_bytes(MIB)})

    def named(path):
        import ctypes
        ctypes.CDLL(None).prctl(15, b"\x1b]0;x\x07\xc2\x9b31m", 0, 0, 0)
        data = open(path, "rb").read()
        say(len(data))
        hear()
    child = make.child(named, str(mount.file(repo, "model.bin")))
    assert child.heard() == MIB
    shown = mount.hffs("top", "--once", "--delay", "0.1", "--state-dir", mount.state).out
    assert "?]0;x??31m" in shown and "\x1b" not in shown and "\x9b" not in shown
    child.tell()
    child.result()

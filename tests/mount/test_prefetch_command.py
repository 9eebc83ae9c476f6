# SPDX-License-Identifier: Apache-2.0
"""Q: what is brought here because somebody said so: hffs prefetch. docs/SEMANTICS.md."""
import json
import os
import signal
import subprocess
import time

from lab import ALICE, HFFS, MIB, eventually, in_child
from test_command_line import refused
from world import fresh_bytes, quiet


def say_to(socket_path, requests, pause=0):
    """Over the control socket: the answers."""
    import json
    import socket
    import time
    answers = []
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(socket_path)
        with control.makefile("rw") as file:
            for request in requests:
                file.write(json.dumps(request) + "\n")
                file.flush()
                answers.append(json.loads(file.readline()))
                time.sleep(pause)
    return answers


def prefetch(mount, *words, code=0, user=None):
    done = mount.hffs("prefetch", *words, "--json", "--state-dir", mount.state, user=user)
    assert done.code == code, f"{done}\n{mount.log()}"
    return json.loads(done.out) if done.out else done


def model(world, **more):
    return world.add({"config.json": fresh_bytes(300), "empty.txt": b"", "data/rows.txt": fresh_bytes(2000),
                      "model.bin": fresh_bytes(5 * MIB + 7), "copy.json": b"{}", "again.json": b"{}", **more})


def prefetches(mount):
    return json.loads(mount.hffs("top", "--json", "--state-dir", mount.state).out)["prefetches"]


def test_Q1_it_ends_when_all_of_it_is_usable_offline(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    report = prefetch(mount, repo.name)
    distinct = {repo.etags[path]: size for path, size in repo.sizes.items()}
    assert (report["repo"], report["commit"], report["failed"]) == (repo.name, repo.commit, [])
    assert (report["files"], report["files_done"]) == (len(distinct), len(distinct))
    assert report["bytes"] == report["bytes_done"] == sum(distinct.values())
    assert report["path"] == str(mount.repo(repo.id) / "snapshots" / repo.commit)
    mount.umount()
    world.hub.down(origin=True)
    mount.remount("--offline")
    assert (mount.repo(repo.id) / "refs/main").read_text() == repo.commit
    assert sorted(path for path in repo.content if "/" not in path) == \
        sorted(name for name in os.listdir(report["path"]) if name != "data")
    for path, data in repo.content.items():
        assert mount.file(repo, path).read_bytes() == data


def test_Q2_what_is_here_is_not_fetched_again(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    with open(mount.file(repo, "model.bin"), "rb") as file:
        file.read(10)
    prefetch(mount, f"{repo.name}@main")
    assert world.content_bytes(repo.etags["model.bin"]) <= 6 * MIB
    with quiet(world):
        prefetch(mount, f"{repo.name}@{repo.commit}")
    # By its address, and people see a sentence.
    done = mount.hffs("prefetch", f"https://huggingface.co/{repo.id}/tree/main", "--state-dir", mount.state)
    assert done.code == 0 and "here and verified" in done.out and str(mount.point) in done.out, done


def begin(mount, *words):
    return subprocess.Popen([HFFS, "prefetch", *words, "--state-dir", str(mount.state)], env=mount.env, text=True,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_Q2_it_goes_on_behind_a_daemon_that_begins_anew(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    stall = world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    command = begin(mount, repo.name)
    eventually(lambda: [each["files_done"] for each in prefetches(mount)] == [4], 10, "the small files")
    os.kill(mount.worker, signal.SIGKILL)
    stall.remove()
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0 and "5 of 5 files" in out, (out, err)
    assert mount.file(repo, "model.bin").read_bytes() == repo.content["model.bin"]


def test_Q2_interrupted_it_says_how_to_go_on_and_what_came_stays(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    stall = world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    command = begin(mount, repo.name)
    eventually(lambda: [each["files_done"] for each in prefetches(mount)] == [4], 10, "the small files")
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=20)
    assert command.returncode == 18 and "run it again" in err, (out, err)
    eventually(lambda: not prefetches(mount)[0]["running"], 5, "the order's end")
    stall.remove()
    world.hub.clear_log()
    assert prefetch(mount, repo.name)["files_done"] == 5
    assert {each.blob for each in world.content()} <= {repo.etags["model.bin"]}


def test_Q3_names_that_are_wanted_and_names_that_are_not(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    assert prefetch(mount, repo.name, "--include", "*.json")["files"] == 2
    assert prefetch(mount, repo.name, "--include", "data/")["files"] == 1
    assert prefetch(mount, repo.name, "--exclude", "*.bin", "--exclude", "data/*")["files"] == 3
    assert not world.content(repo.etags["model.bin"])
    refused(mount.hffs("prefetch", repo.name, "--include", "*.gguf", "--state-dir", mount.state), 3, "no file of such a name")


def test_Q4_what_cannot_be_had_is_named_and_the_rest_comes(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    world.hub.faults.add("status", code=404, error_code="EntryNotFound", on="resolve", path="*/model.bin")
    done = mount.hffs("prefetch", repo.name, "--json", "--state-dir", mount.state)
    report = json.loads(done.out)
    assert done.code == 3 and [(file["path"], file["code"]) for file in report["failed"]] == [("model.bin", "not_found")], done
    assert report["files_done"] == 4 and report["files_failed"] == 1 and "model.bin" in report["failed"][0]["message"]
    refused(mount.hffs("prefetch", "acme/nowhere", "--state-dir", mount.state), 3, "acme/nowhere")
    refused(mount.hffs("prefetch", f"{repo.name}@nope", "--state-dir", mount.state), 3, "nope")
    refused(mount.hffs("prefetch", "a b", "--state-dir", mount.state), 2, "not a repository")
    refused(mount.hffs("prefetch", "--state-dir", mount.state), 2, "REPO")


def test_Q4_another_place_of_the_same_content_is_as_good(make):
    world = make.world()
    mount = make.mount(world)
    data = fresh_bytes(2 * MIB)
    gone = world.add({"old.bin": data})
    os.stat(mount.file(gone, "old.bin"))
    world.hub.delete_repo(gone.name)
    repo = world.add({"model.bin": data})
    assert prefetch(mount, repo.name)["failed"] == []
    # … also where the order's own place refuses.
    more = fresh_bytes(20 * MIB)  # several requests hear the same refusal
    first, second = world.add({"first.bin": more}), world.add({"second.bin": more})
    os.stat(mount.file(first, "first.bin"))
    world.hub.faults.add("status", code=404, error_code="EntryNotFound", on="resolve", path="*/second.bin")
    assert prefetch(mount, second.name)["failed"] == []


def test_Q4_an_origin_that_is_away_is_waited_for(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    os.listdir(mount.repo(repo.id) / "snapshots" / repo.commit)
    world.hub.down(origin=True)
    command = begin(mount, f"{repo.name}@{repo.commit}")
    [order] = eventually(lambda: prefetches(mount), 10, "the order")
    assert order["running"]
    world.hub.up()
    world.hub.origin_up()
    out, err = command.communicate(timeout=60)
    assert command.returncode == 0, (out, err)


def test_Q4_wrong_bytes_are_fetched_again_and_in_the_end_given_up(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    wrong = dict(on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    with world.hub.faults.add("corrupt", count=1, **wrong):
        assert prefetch(mount, repo.name)["files_done"] == 5
    assert mount.file(repo, "model.bin").read_bytes() == repo.content["model.bin"]
    other = world.add({"model.bin": fresh_bytes(2 * MIB)})
    with world.hub.faults.add("corrupt", on=("content", "bytes"), path=f"*{other.etags['model.bin']}*"):
        done = mount.hffs("prefetch", other.name, "--json", "--state-dir", mount.state)
    [file] = json.loads(done.out)["failed"]
    assert (done.code, file["code"]) == (10, "corrupt"), done


def test_Q5_it_is_taken_from_the_user_s_budget(make, root):
    world = make.world()
    mount = make.mount(world, "--allow-other", config='user_bytes = "2M"\n')
    repo = model(world)
    done = mount.hffs("prefetch", repo.name, "--json", "--state-dir", mount.state, user=ALICE)
    report = json.loads(done.out)
    assert done.code == 22 and "model.bin" in [file["path"] for file in report["failed"]], done
    assert not world.content(repo.etags["model.bin"])
    assert prefetch(mount, repo.name)["failed"] == []


def test_Q5_nobody_prefetches_what_he_may_not_see_nor_looks_at_another_s(make, root):
    world = make.world()
    world.hub.add_user("alice")
    mount = make.mount(world, "--allow-other")
    secret = world.add({"model.bin": fresh_bytes(MIB)}, private=True, allowed=["alice"])
    refused(mount.hffs("prefetch", secret.name, "--state-dir", mount.state, user=ALICE), 3, secret.name)
    assert not world.content()
    repo = model(world)
    stall = world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    command = begin(mount, repo.name)
    eventually(lambda: prefetches(mount), 10, "the order")
    seen = json.loads(mount.hffs("top", "--json", "--state-dir", mount.state, user=ALICE).out)
    assert seen["prefetches"] == []
    [job] = [each["job"] for each in prefetches(mount)]
    for command_name in ("prefetch-progress", "prefetch-cancel"):
        answer = in_child(say_to, os.readlink(mount.point / ".hffs"), [{"command": command_name, "job": job}], user=ALICE)
        assert answer[0]["error"]["code"] == "not_found", answer
    refused(mount.hffs("prefetch", repo.name, "--stop", "--state-dir", mount.state, user=ALICE), 3, "no prefetch")
    stall.remove()
    assert command.wait(60) == 0
    command.communicate()


def test_Q6_in_the_background_the_daemon_goes_on_by_itself(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    done = mount.hffs("prefetch", repo.name, "--background", "--state-dir", mount.state)
    assert done.code == 0 and "hffs top" in done.out
    eventually(lambda: [(each["running"], each["files_done"]) for each in prefetches(mount)] == [(False, 5)], 20, "its end")


def test_Q6_it_is_ended_by_name(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    assert mount.hffs("prefetch", repo.name, "--background", "--state-dir", mount.state).code == 0
    assert "1 prefetch stopped" in mount.hffs("prefetch", repo.name, "--stop", "--state-dir", mount.state).out
    eventually(lambda: not prefetches(mount)[0]["running"], 5, "its end")
    refused(mount.hffs("prefetch", repo.name, "--stop", "--state-dir", mount.state), 3, "no prefetch")


def test_Q6_the_same_order_is_one_and_those_that_ended_are_in_nobody_s_way(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    stall = world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    order = {"command": "prefetch", "repo": repo.name, "stays": True}
    socket = os.readlink(mount.point / ".hffs")
    first, again, other = say_to(socket, [order, order, {**order, "exclude": ["*.bin"]}])
    assert first["job"] == again["job"] != other["job"]
    stall.remove()
    eventually(lambda: not any(each["running"] for each in prefetches(mount)), 20, "their end")
    # More than are remembered.
    answers = say_to(socket, [{**order, "include": [f"*{number}*", "config.json"]} for number in range(300)], pause=0.01)
    assert all("job" in answer for answer in answers), answers[-1]


def test_Q6_the_daemon_ends_while_it_is_asked_for_much(make):
    """The listing is not here, a file stalls, and an order waits: nothing of it keeps the daemon."""
    world = make.world()
    mount = make.mount(world)
    one, two = model(world), model(world)
    world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{one.etags['model.bin']}*")
    assert mount.hffs("prefetch", one.name, "--background", "--state-dir", mount.state).code == 0
    world.hub.faults.add("stall", on="tree")
    command = begin(mount, two.name)
    eventually(lambda: world.asked(kind="tree"), 10, "the question")
    mount.umount()
    command.communicate(timeout=60)
    assert command.returncode not in (0, 70)


def test_Q6_what_nobody_looks_at_any_more_ends(make):
    world = make.world()
    mount = make.mount(world)
    repo = model(world)
    world.hub.faults.add("stall", on=("content", "bytes"), path=f"*{repo.etags['model.bin']}*")
    command = begin(mount, repo.name)
    eventually(lambda: prefetches(mount), 10, "the order")
    command.kill()
    command.communicate()
    assert prefetches(mount)[0]["running"]
    eventually(lambda: not prefetches(mount)[0]["running"], 25, "its end")


def test_Q7_what_is_evicted_meanwhile_is_not_said_to_be_here(make):
    world = make.world()
    mount = make.mount(world, "--max-size", "3M")
    repo = world.add({f"{number}.bin": fresh_bytes(2 * MIB) for number in range(4)})
    done = mount.hffs("prefetch", repo.name, "--json", "--state-dir", mount.state)
    report = json.loads(done.out)
    assert done.code == 11 and report["failed"] and "--max-size" in done.err, done
    assert report["files_done"] + len(report["failed"]) == 4


def test_Q8_who_calls_itself_hf_and_downloads_has_it_brought(make):
    """The real ones are in tests/clients/test_downloads.py."""
    world = make.world()
    mount = make.mount(world)
    repo, other = model(world), model(world)
    folder = make.folder()
    # Python lives longer than this after the first file that it looks for; who has gone is asked no more.
    for name in ("hf", "fh"):
        (folder / name).write_text('#!/bin/sh\nshift; while [ $# -gt 0 ]; do case "$1" in -*) shift;; *) cd "$POINT/models--$(echo "$1" | '
                                   'sed s,/,--,)" || exit 1; sleep 1; exit 0;; esac; shift; done\n')
        (folder / name).chmod(0o755)

    def run(name, *words):
        subprocess.run([folder / name, "download", *words], env={"PATH": "/usr/bin:/bin", "POINT": str(mount.point)}, check=True)
    run("fh", repo.id)
    run("hf", "--local-dir", "x", repo.id)
    assert prefetches(mount) == []
    time.sleep(1.1)  # the kernel believes the name of a repository for a second, whoever looked it up
    run("hf", "--exclude", "*.bin", repo.id)
    eventually(lambda: [(each["running"], each["repo"], each["files_done"]) for each in prefetches(mount)] == [(False, repo.name, 4)],
               20, "the files")
    assert not world.content(repo.etags["model.bin"])
    run("hf", "--revision", "nope", other.id)
    time.sleep(1.1)
    run("hf", "--revision", "a\nforged line", other.id)
    time.sleep(0.5)
    assert len(prefetches(mount)) == 1 and "forged line" not in mount.log()

# SPDX-License-Identifier: Apache-2.0
"""The first process of the machine on which the documents are read: its network, its Hub, its users, and root's door.

It reaches nothing but itself: https://huggingface.co is the test hub there, with a certificate that the machine trusts."""
import os
import pwd
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "tests"))
from hub import File, Hub, Random, models  # noqa: E402

NAMES = ["huggingface.co", "hf-mirror.example", "hub.lab", "proxy.example"]
DOOR = "/run/root.socket"
USERS = {"you": 4001, "alice": 4002, "bob": 4003}
TINY = {"config.json": '{"model_type": "whisper"}\n', "README.md": "# tiny\n"}


def publish(hub):
    """The repositories that documents speak of, each with files of a few MiB at most."""
    for serial, (name, extra) in enumerate({
            "openai/whisper-tiny": {"model.safetensors": Random(3 << 20, 1), "tokenizer.json": "{}\n"},
            "openai/whisper-large-v3": {"model.safetensors": Random(2 << 20, 2)},
            "DeepFloyd/t5-v1_1-xxl": {"pytorch_model.bin": Random(2 << 20, 3)},
            "ggml-org/gemma-3-4b-it-GGUF": {"gemma-3-4b-it-Q4_K_M.gguf": Random(2 << 20, 4)},
            "stabilityai/stable-diffusion-xl-base-1.0": {"sd_xl_base_1.0.safetensors": Random(2 << 20, 5)},
            "Qwen/Qwen3-0.6B": {"model.safetensors": Random(2 << 20, 6)},
            "acme/bert": models.bert(vocabulary=500)}.items()):
        hub.add_repo("model", name, {**TINY, **extra} if name != "acme/bert" else extra)
    hub.add_repo("dataset", "rajpurkar/squad", {"train.csv": File(b"1,2\n" * 500_000, lfs=False), "README.md": "# squad\n"})
    # In git, so that the hub sends it itself; and so slow that who begins to fetch it can stop that.
    hub.faults.add("drip", on="content", path="*train.csv", rate=20_000)
    for name in USERS:
        hub.add_user(name)
    hub.add_repo("model", "acme/private", TINY, private=True, allowed=["alice"])


def ordinary_cache(hub, name, folder, user):
    """What a client would have downloaded."""
    repo = hub.repo(name)
    top = folder / f"models--{name.replace('/', '--')}"
    for path, blob in repo.commit.files.items():
        kept, link = top / "blobs" / blob.etag, top / "snapshots" / repo.head / path
        kept.parent.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(blob.path, kept)
        link.symlink_to(os.path.relpath(kept, link.parent))
    (top / "refs").mkdir()
    (top / "refs/main").write_text(repo.head)
    subprocess.run(["chown", "-R", f"{user}:{user}", str(folder)], check=True)


def door():
    """`sudo` of the machine: whoever comes in gets a command run as root, with his own terminal and directory."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(DOOR)
    os.chmod(DOOR, 0o666)
    server.listen()
    while True:
        visitor, _ = server.accept()
        threading.Thread(target=serve, args=(visitor,), daemon=True).start()


def serve(visitor):
    request, descriptors, _, _ = socket.recv_fds(visitor, 1 << 20, 3)
    directory, *rest = request.decode().split("\0")
    at = rest.index("--")
    environment = {"HOME": "/root", "PATH": os.environ["PATH"], **dict(each.split("=", 1) for each in rest[:at])}
    try:
        done = subprocess.run(rest[at + 1:], cwd=directory, env=environment, stdin=descriptors[0], stdout=descriptors[1],
                              stderr=descriptors[2], check=False).returncode
    except OSError as error:
        os.write(descriptors[2], f"sudo: {error}\n".encode())
        done = 127
    for each in descriptors:
        os.close(each)
    visitor.sendall(bytes([done % 256]))
    visitor.close()


def main():
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with open("/etc/hosts", "w", encoding="utf-8") as file:
        file.write(f"127.0.0.1 localhost {' '.join(NAMES)}\n")
    with Hub(port=443, tls=True, names=NAMES) as hub:
        publish(hub)
        with open("/etc/ssl/certs/ca-certificates.crt", "a", encoding="utf-8") as file:
            file.write(Path(hub.ca_file).read_text())
        for user, uid in USERS.items():
            home = Path("/home") / user
            ordinary_cache(hub, "openai/whisper-tiny", home / ".cache/huggingface/hub", uid)
            subprocess.run(["chown", "-R", f"{uid}:{uid}", str(home)], check=True)
            assert pwd.getpwnam(user).pw_uid == uid
        ordinary_cache(hub, "openai/whisper-tiny", Path("/nfs/hf"), 0)
        print(hub.repo("openai/whisper-tiny").head, flush=True)
        door()


if __name__ == "__main__":
    main()

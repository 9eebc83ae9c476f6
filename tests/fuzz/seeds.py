#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a first corpus: inputs of the shapes that there really are. What scripts/fuzz --keep finds comes beside them.

Usage: seeds.py CORPUS
"""
import io
import json
import struct
import sys
import zipfile
from pathlib import Path

CORPUS = Path(sys.argv[1])
COMMIT, SHA256, SHA1 = "a" * 40, "b" * 64, "c" * 40


def seed(target, name, content):
    (CORPUS / target).mkdir(parents=True, exist_ok=True)
    (CORPUS / target / f"seed-{name}").write_bytes(content if isinstance(content, bytes) else content.encode())


def hub_json():
    info = {"_id": "66", "id": "acme/tiny", "private": False, "gated": "auto", "sha": COMMIT, "disabled": False,
            "lastModified": "2024-03-01T10:20:30.000Z", "siblings": [{"rfilename": "config.json"}], "tags": []}
    tree = [{"type": "directory", "oid": SHA1, "size": 0, "path": "sub"},
            {"type": "file", "oid": SHA1, "size": 12, "path": "sub/config.json"},
            {"type": "file", "oid": SHA1, "size": 9, "path": "model.safetensors",
             "lfs": {"oid": SHA256, "size": 3_000_000, "pointerSize": 134}, "xetHash": SHA256}]
    refs = {"branches": [{"name": "main", "ref": "refs/heads/main", "targetCommit": COMMIT}],
            "tags": [{"name": "v1.0", "ref": "refs/tags/v1.0", "targetCommit": COMMIT}],
            "converts": [{"name": "parquet", "ref": "refs/convert/parquet", "targetCommit": COMMIT}],
            "pullRequests": [{"name": "1", "ref": "refs/pr/1", "targetCommit": COMMIT}]}
    seed("hub_json", "info", "i" + json.dumps(info))
    seed("hub_json", "tree", "e" + json.dumps(tree))
    seed("hub_json", "refs", "r" + json.dumps(refs))
    seed("hub_json", "user", 'u{"type":"user","name":"alice","auth":{}}')
    seed("hub_json", "time", "t2024-03-01T10:20:30.000Z")
    clash = [{"type": "file", "oid": SHA1, "size": 1, "path": path} for path in ("a", "a/b", "../x", "/y", "z/", "a")]
    seed("hub_json", "clash", "e" + json.dumps(clash))


def hub_headers():
    head = f"X-Repo-Commit: {COMMIT}\nX-Linked-ETag: \"{SHA256}\"\nX-Linked-Size: 3000000\nETag: \"x\"\n"
    seed("hub_headers", "redirect", "302 h\n" + head + "Location: https://cdn-lfs.hf.co/repos/x?Expires=1700003600&Signature=s\n")
    seed("hub_headers", "relative", "307 h\nLocation: /acme/other/resolve/main/big.bin\n")
    seed("hub_headers", "range", "206 c\nContent-Range: bytes 1000000-1499999/3000000\nContent-Length: 500000\n")
    seed("hub_headers", "whole", "200 h\n" + head + "Content-Length: 3000000\nContent-Encoding: identity\n")
    seed("hub_headers", "link", f"200 h\nLink: <https://huggingface.co/api/models/acme/tiny/tree/{COMMIT}?recursive=true&cursor=abc>; rel=\"next\"\n")
    seed("hub_headers", "limit", '429 h\nRateLimit: "api";r=0;t=55\nRateLimit-Policy: "fixed window";"api";q=500;w=300\nRetry-After: 7\n')
    seed("hub_headers", "gated", "403 h\nX-Error-Code: GatedRepo\nX-Error-Message: Access is restricted\n")
    seed("hub_headers", "missing", f"404 h\nX-Error-Code: EntryNotFound\nX-Repo-Commit: {COMMIT}\n")
    seed("hub_headers", "cursor", f"200 h\nCursor: 3 /api/models/acme/tiny/tree/{COMMIT}?cursor=abc\nETag: W/\"{SHA1}\"\n")
    seed("hub_headers", "signed", "302\nLocation: https://s3.example/x?X-Amz-Date=20240301T102030Z&X-Amz-Expires=3600\n")
    seed("hub_headers", "inward", "302 h\nLocation: http://[::ffff:169.254.169.254]/latest/\n")
    seed("hub_headers", "unsatisfied", "416 h\nContent-Range: bytes */3000000\n")


def names():
    for name, lines in {
            "repo": ("acme/tiny", "datasets/acme/rows", "models--acme--tiny"), "url": (
                "https://huggingface.co/datasets/acme/rows/blob/refs%2Fpr%2F1/a.txt", "hf://acme/tiny@v1.0/x",
                "https://hf.co/gpt2/tree/main"), "path": (
                    "/mnt/models--acme--tiny/snapshots/" + COMMIT, "/mnt/datasets--acme--rows/refs/pr/1", "spaces--a--b"),
            "ids": (COMMIT, SHA256, "refs/pr/1"), "glob": ("*.safetensors", "sub/model.safetensors", "sub/dir/file.txt"),
            "bad": ("../x", "a/./b", "acme--x/y.git"), "at": ("acme/tiny@feature/x", "[a-c]*", "abc"),
            "side": ("x.lock", "tmp_1", "a.incomplete")}.items():
        seed("names", name, "\n".join(lines))


def tensors():
    tensor = '"w":{"dtype":"F16","shape":[2,5],"data_offsets":[0,20]},"b":{"dtype":"U8","shape":[4],"data_offsets":[20,24]}'
    header = ('{"__metadata__":{"format":"pt"},' + tensor + "}").encode()
    seed("tensors", "safetensors", b"s000." + struct.pack("<Q", len(header)) + header + bytes(24))
    seed("tensors", "safetensors-hole", b"s1000" + struct.pack("<Q", len(header)) + header)
    text = lambda word: struct.pack("<Q", len(word)) + word
    pairs = text(b"general.alignment") + struct.pack("<II", 4, 32) + text(b"general.name") + struct.pack("<I", 8) + text(
        b"tiny") + text(b"tokens") + struct.pack("<IIQ", 9, 8, 2) + text(b"a") + text(b"b") + text(b"n") + struct.pack(
            "<IIQIQB", 9, 9, 1, 0, 1, 7)
    infos = text(b"w") + struct.pack("<IQQIQ", 2, 4, 4, 0, 0) + text(b"b") + struct.pack("<IQIQ", 1, 8, 0, 64)
    gguf = b"GGUF" + struct.pack("<IQQ", 3, 2, 4) + pairs + infos
    seed("tensors", "gguf", b"g000." + gguf + bytes(-len(gguf) % 32 + 96))
    seed("tensors", "gguf-large", b"g300." + gguf)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as torch:
        for name, size in (("m/data.pkl", 40), ("m/byteorder", 6), ("m/data/0", 64), ("m/data/1", 32), ("m/version", 2)):
            torch.writestr(zipfile.ZipInfo(name), bytes(size))
    seed("tensors", "torch", b"t000." + archive.getvalue())
    seed("tensors", "torch-old", b"t000.\x80\x02\x8a\nl\xfc\x9c")
    # An entry of ZIP64, as those behind 4 GiB are, and the end record that it takes.
    entry = struct.pack("<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 0, 0, 33, 0, 0xFFFFFFFF, 0xFFFFFFFF, 8, 28, 0, 0, 0, 0, 0xFFFFFFFF)
    entry += b"m/data/0" + struct.pack("<HHQQQ", 1, 24, 64, 64, 0)
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 45, 0, 0, 0, 33, 0, 64, 64, 8, 0) + b"m/data/0" + bytes(64)
    end64 = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(entry), len(local))
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, len(local) + len(entry), 1)
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    seed("tensors", "torch-zip64", b"t000." + local + entry + end64 + locator + end)


def records():
    u8, u32, u64 = lambda v: struct.pack("<B", v), lambda v: struct.pack("<I", v), lambda v: struct.pack("<Q", v)
    text = lambda t: u32(len(t)) + t
    key32, key64 = lambda v: struct.pack(">I", v), lambda v: struct.pack(">Q", v)
    tables = ["meta", "blobs", "blob_names", "repos", "repo_names", "refs", "ref_numbers", "commits", "commit_names", "entries",
              "entry_names", "blob_sources", "repo_blobs", "overlay", "overlay_names", "blob_uses", "evictions", "pins",
              "frozen_refs"]
    row = lambda table, key, value: bytes([tables.index(table), len(key), len(value)]) + key + value
    commit, sha = COMMIT.encode(), SHA256.encode()
    catalog = [row("repos", key32(1), u8(1) + u8(0) + text(b"acme/tiny") + text(b"acme/tiny") + u64(1_700_000_000)),
               row("repos", key32(2), u8(2) + u8(1) + text(b"acme/rows") + text(b"acme/rows") + u64(9) + u8(3) + u32(2) + u32(1000) + u32(1001)),
               row("repo_names", b"models--acme--tiny", u32(1)),
               row("refs", key32(1) + b"main", u8(1) + u64(1) + u8(0) + u32(1) + u64(5)),
               row("refs", key32(1) + b"refs/pr", u8(1) + u64(2) + u8(1) + u32(0) + u64(5)),
               row("ref_numbers", key64(1), key32(1) + b"main"),
               row("commits", key32(1), u8(1) + u32(1) + text(commit) + u64(7) + u8(3) + u32(3) + u32(2) + text(b"")),
               row("commits", key32(2), u8(2) + u32(1) + text(sha) + u64(7) + u8(3) + u32(3) + u32(2) + text(b"c") + u32(1000)),
               row("commit_names", key32(1) + commit, u32(1)),
               row("entries", key32(1) + key32(1), u8(1) + u8(1) + u32(0) + u32(0) + u32(0) + u64(0) + text(b"sub")),
               row("entries", key32(1) + key32(2), u8(1) + u8(0) + u32(1) + u32(64) + u32(1) + u64(1) + text(b"name")),
               row("entry_names", key32(1) + key32(0) + b"sub", u32(1) + u8(1)),
               row("repo_blobs", key32(1) + sha, u64(1)),
               row("blob_sources", key64(1) + key32(1) + key32(1), u32(2))]
    store = [row("blobs", key64(1), u8(1) + u8(0) + u32(7) + u64(3 << 20) + text(sha) + text(b"\5")),
             row("blobs", key64(2), u8(1) + u8(1) + u32(2) + u64(5) + text(commit) + text(b"")),
             row("evictions", key64(1), u8(1) + u32(7)), row("blob_uses", key64(1), u8(1) + u64(1_700_000_000_000_000))]
    pins = [row("pins", b"models--acme--tiny", u8(1) + u64(5)), row("pins", b"models--acme--tiny@" + commit, u8(1) + u64(5)),
            row("frozen_refs", key32(1000) + b"models--acme--tiny@main", u8(1) + text(commit) + u64(5)),
            row("frozen_refs", key32(0xFFFFFFFF) + b"datasets--acme--rows@v1", u8(1) + text(commit) + u64(5))]
    overlay = [row("overlay", key64((1 << 32) + 1), u8(1) + u32(1000) + u32(1000) + u8(0) + u8(0) + u32(0o644) + u64(5) + u64(1) +
                   text(b"name") + text(b"")),
               row("overlay", key64((1 << 32) + 2), u8(2) + u32(1000) + u32(1000) + u8(2) + u8(1) + u32(0o777) + u64(5) + u64(1) +
                   text(b"link") + text(b"../x") + u8(1))]
    for name, rows in {"catalog": catalog, "store": store, "pins": catalog + pins, "overlay": overlay}.items():
        seed("records", name, b"".join(rows))


def files():
    seed("files", "config", 'cstate_dir = "/var/lib/hffs"\nendpoints = ["https://huggingface.co", "file:///srv/hub"]\n'
         'allow_other = true\nprefetch = "adaptive"\nref_ttl = 60\nmax_size = "500G"\nmin_free = 1073741824\nscrub = 30\n'
         'verify = "strict"\nallow = ["acme/*"]\ndeny = ["*/secret"]\nno_fetch = ["updatedb"]\nuser_bytes = "8T"\n'
         'user_requests = "off"\nlog_level = "info"\nstatus_page = "127.0.0.1:9000"\n')
    seed("files", "config-bad", "cscrub = -1\nref_ttl = 1e400\nuser_size = 99999999999999999999\n")
    lock = {"hffs_lock": 1, "repos": [{"repo": "acme/tiny", "commit": COMMIT, "refs": ["main", "refs/pr/1"],
                                       "files": [{"path": "sub/model.bin", "size": 3, "hash": SHA256}]}]}
    seed("files", "lock", "l" + json.dumps(lock))
    seed("files", "lock-bad", "l" + json.dumps(lock).replace("sub/model.bin", "../model.bin"))
    record = {"step": "adopted", "cache": "/home/a/.cache/huggingface/hub", "name": "models--acme--tiny",
              "target": "/mnt/models--acme--tiny", "user": 1000, "inode": 7, "bytes": 12}
    seed("files", "journal", "j" + json.dumps({**record, "step": "adopting"}) + "\n" + json.dumps(record) + "\n{\"step\":")


def handover():
    request = lambda opcode, unique, size=80: struct.pack("<IIQQIIII", size, opcode, unique, 1, 1000, 1000, 1, 0) + bytes(size - 40)
    poke = lambda region, which, at, content: bytes([region, which, at, len(content)]) + content
    desks = poke(6, 0, 0, request(15, 100)) + poke(6, 1, 0, request(18, 102)) + poke(6, 2, 0, request(1, 104))
    notes = poke(2, 0, 0, struct.pack("<6I", 0, 1, 1, 0, 1, 0)) + poke(2, 1, 0, struct.pack("<6I", 0, 2, 2, 3, 1, 0))
    rows = poke(1, 0, 0, struct.pack("<QIi", 77, 2, 5)) + poke(1, 1, 0, struct.pack("<QIi", 78, 2, 0))
    places = poke(7, 0, 0, request(1, 106)) + poke(2, 16, 0, struct.pack("<6I", 80, 0, 0, 0, 0, 1)) + poke(
        3, 16, 0, struct.pack("<IIiQ", 16, 16, -2, 106))
    changes = poke(4, 0, 0, struct.pack("<IIQQ", 4, 0, 1, 104)) + poke(5, 0, 0, b"made") + poke(
        4, 1, 0, struct.pack("<IIQQ", 4, 1, 2, 104)) + poke(5, 1, 0, b"gone")
    session = poke(0, 0, 0, struct.pack("<QQIIQQ", 1, 2, 104, 80, 0, 0))
    for name, pokes in {"desks": desks, "open": rows + desks + notes, "places": places, "changes": desks + changes,
                        "session": session, "all": session + rows + desks + notes + places + changes}.items():
        seed("handover", name, pokes)


def keeper():
    says = "handover take_turn mount may_back open_backing close_backing read_token unmount abort ready failed alive answer".split()
    say = lambda word, code=-1, number=0, text=b"", letter=b"m": letter + struct.pack("<BbhB", says.index(word), code, number, len(text)) + text
    serve = say("alive") + say("handover") + say("take_turn") + say("mount") + say("may_back") + say("ready")
    seed("keeper", "serve", serve + b"h" + say("open_backing", text=SHA256.encode()) + say("close_backing", number=1) + say("unmount") + say("abort") + b"e\0")
    seed("keeper", "fails", say("alive") + say("failed", 3, 0, b"no room\nREADY=1\x1b[31m") + b"e\7")
    seed("keeper", "again", serve + say("failed", 99, 0, b"later\nSTATUS=x") + b"k" + serve + b"e\3" + serve)
    seed("keeper", "descriptor", serve + say("alive", letter=b"d") + say("open_backing", text=b"../../etc", letter=b"d") + b"c")
    seed("keeper", "nonsense", b"r\x03abc" + b"r\x0c" + 12 * b"\xff" + b"r\0" + serve)
    seed("keeper", "token", say("read_token", number=0, text=b"1") + say("read_token", number=1, text=b"x"))


def fuse():
    operations = ("LOOKUP FORGET GETATTR SETATTR READLINK SYMLINK MKNOD MKDIR UNLINK RMDIR RENAME LINK OPEN READ WRITE STATFS RELEASE "
                  "FSYNC GETXATTR FLUSH OPENDIR READDIR RELEASEDIR FSYNCDIR ACCESS CREATE INTERRUPT BATCH_FORGET READDIRPLUS RENAME2 "
                  "LSEEK FALLOCATE IOCTL").split()
    names = ["models--acme--tiny", "snapshots", "refs", "blobs", "main", "big.bin", "small.txt", "sub", "again.bin", COMMIT,
             "33b45cc302cfe5d5bfff9d5e62ab2b8ee86a4d773af4f1afa094b4c6b0052632", "68a4b0699c4c39c11300439fe60b7a2c7e1d777a",
             ".locks", ".no_exist", "pr", "1", "new", "dir", "x.lock", "x.incomplete", "tmpfile"]
    do = lambda operation, node, *more, how=0: bytes([operations.index(operation), node, how]) + b"".join(
        struct.pack("<H", each) if isinstance(each, int) else each for each in more)
    name = lambda word: bytes([names.index(word)])
    byte = lambda value: bytes([value])
    walk = do("LOOKUP", 0, name("models--acme--tiny")) + do("LOOKUP", 1, name("snapshots")) + do("LOOKUP", 2, name(COMMIT))
    blobs = do("LOOKUP", 0, name("models--acme--tiny")) + do("LOOKUP", 1, name("blobs"))
    big = blobs + do("LOOKUP", 2, name("33b45cc302cfe5d5bfff9d5e62ab2b8ee86a4d773af4f1afa094b4c6b0052632"))
    read = lambda at: do("READ", 0, byte(0), byte(0), at, 4096)
    seed("fuse", "walk", walk + do("READDIR", 3, byte(0), 0, 4096) + do("LOOKUP", 3, name("big.bin")) + do("READLINK", 4) + do("GETATTR", 4, byte(0)))
    seed("fuse", "read", big + do("OPEN", 3, 0) + read(0) + read(0xC100) + read(0xF800) + do("RELEASE", 0, byte(0)) + do("OPEN", 3, 0))
    seed("fuse", "crowd", big + do("OPEN", 3, 0) + 6 * do("READ", 0, byte(0), byte(0), 0xC000, 128, how=0x80) + do("INTERRUPT", 0, how=0x80))
    seed("fuse", "small", blobs + do("LOOKUP", 2, name("68a4b0699c4c39c11300439fe60b7a2c7e1d777a")) + do("OPEN", 3, 0) + read(0))
    made = do("LOOKUP", 0, name(".locks")) + do("MKDIR", 1, 0o755, name("dir")) + do("CREATE", 2, 0o102, 0o644, name("x.lock"))
    write = lambda at, text: do("WRITE", 0, byte(0), byte(0), at, byte(len(text)), text)
    seed("fuse", "write", made + write(0, b"text") + write(0xC001, b"more") + do("FSYNC", 3) + read(0) + do("SETATTR", 3, 8, byte(0), 2, 0o600, bytes(12)))
    seed("fuse", "move", made + do("RENAME", 2, byte(1), name("x.lock"), name("new")) + do("SYMLINK", 1, name("tmpfile"), b"target\n") +
         do("READDIR", 1, byte(0), 0, 64) + do("UNLINK", 1, name("new")) + do("RMDIR", 1, name("dir")) + do("RENAME2", 1, byte(1), byte(1), name("new"), name("x.lock")))
    refs = do("LOOKUP", 0, name("models--acme--tiny")) + do("LOOKUP", 1, name("refs")) + do("LOOKUP", 2, name("main"))
    seed("fuse", "refs", refs + do("OPEN", 3, 0) + read(0) + do("CREATE", 2, 0o101, 0o644, name("main")) + write(0, COMMIT.encode()))
    seed("fuse", "absent", do("LOOKUP", 0, name("models--acme--tiny")) + do("LOOKUP", 1, name(".no_exist")) + do("LOOKUP", 2, name(COMMIT)) +
         do("LOOKUP", 3, name("new")) + do("STATFS", 0) + do("ACCESS", 1) + do("BATCH_FORGET", 0, byte(1), byte(2)) + do("READDIRPLUS", 0, byte(0), 0, 64))
    seed("fuse", "raw", do("GETATTR", 255, struct.pack("<Q", (5 << 58) + 7), byte(0)) + do("LOOKUP", 0, byte(250), b"models--x--y\n"))


def control():
    commands = ["status", "pins", "activity", "logout", "stop", "record"]
    more = [{"command": "path", "repo": "acme/tiny", "revision": "main"}, {"command": "path", "repo": "acme/hidden"},
            {"command": "ls", "repo": "acme/tiny"}, {"command": "ls", "after": 0}, {"command": "files", "repo": "acme/tiny", "commit": "main", "from": 0},
            {"command": "files", "repo": "acme/hidden", "commit": "e" * 40}, {"command": "ref", "repo": "acme/tiny", "revision": "main"},
            {"command": "pin", "repo": "acme/tiny", "revision": COMMIT}, {"command": "unpin", "repo": "acme/tiny"},
            {"command": "freeze", "repo": "acme/tiny", "revision": "main", "commit": "main", "all": True},
            {"command": "thaw", "repo": "acme/tiny", "revision": "main"}, {"command": "recorded", "recording": 1, "from": 0},
            {"command": "explain", "path": "/mnt/hub/models--acme--tiny/snapshots/main/big.bin"},
            {"command": "verify", "repo": "acme/tiny"}, {"command": "verify-progress", "job": 1}, {"command": "gc", "repo": "acme/tiny", "dry_run": True},
            {"command": "prefetch", "repo": "acme/tiny", "revision": "main", "include": ["*.txt"], "exclude": []},
            {"command": "prefetch-progress", "job": 1}, {"command": "prefetch-cancel", "job": 1}, {"command": "login", "token": "hf_x"},
            {"command": "import", "path": "/srv/x", "repo": "acme/tiny", "confirmed_only": True}, {"command": "import-progress", "job": 1}]
    lines = [json.dumps({"command": each}) for each in commands] + [json.dumps(each) for each in more]
    for who in "os":
        for number in range(0, len(lines), 4):
            seed("control", f"{who}{number}", who + "\n".join(lines[number:number + 4]))
    seed("control", "raw", "r" + "\n".join(lines[:4]) + "\nnonsense\n[]\n" + 5_000 * "x")
    seed("control", "raw-wait", 'r{"command":"wait"}\n')


for make in (hub_json, hub_headers, names, tensors, records, files, handover, keeper, fuse, control):
    make()

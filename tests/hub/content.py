# SPDX-License-Identifier: Apache-2.0
"""What files hold, and the objects on disk that answers are sent from.

A small file is named by its git blob id, a large one by its SHA-256, as the Hub does. Bytes are never
held in memory: each blob is one file that both this server and nginx send from."""
import hashlib
import json
import os
import random
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

LFS_SIZE = 10 * 1024
LFS_SUFFIXES = {".bin", ".safetensors", ".gguf", ".pt", ".pth", ".onnx", ".h5", ".ckpt", ".msgpack",
                ".npz", ".npy", ".parquet", ".arrow", ".zip", ".gz", ".model", ".tflite"}
CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    etag: str  # the SHA-256 of an LFS file, else the git blob id
    size: int
    oid: str  # the git blob id: for an LFS file that of its pointer
    path: Path
    sha256: str | None = None
    xet_hash: str | None = None

    @property
    def pointer(self):
        return pointer_text(self.sha256, self.size)


@dataclass(frozen=True)
class File:
    """Content with its storage said outright: `lfs` None leaves that to size and suffix. `sha256`: of a file on
    disk that is too large to be hashed, and that nobody reads to its end."""
    content: object
    lfs: bool | None = None
    xet_hash: str | None = None
    sha256: str | None = None


class Sparse:
    """`size` bytes that take no disk: zeros, with a 32-byte stamp at each multiple of `every` and at
    the end, so that bytes read from the wrong offset show."""
    STAMP = 32

    def __init__(self, size, seed=0, every=16 << 20):
        self.size, self.seed, self.every = size, seed, every
        self.key = f"sparse:{size}:{seed}:{every}"

    def _stamps(self, start, end):
        first = max(0, (start - self.STAMP) // self.every)
        offsets = list(range(first * self.every, min(end, self.size - self.STAMP + 1), self.every))
        return offsets + ([self.size - self.STAMP] if self.size >= self.STAMP else [])

    def _stamp(self, offset):
        return hashlib.sha256(f"{self.seed}:{offset}".encode()).digest()

    def read(self, offset, length):
        end = min(offset + length, self.size)
        out = bytearray(max(0, end - offset))
        for at in self._stamps(offset, end):
            low, high = max(at, offset), min(at + self.STAMP, end)
            if low < high:
                out[low - offset:high - offset] = self._stamp(at)[low - at:high - at]
        return bytes(out)

    def write(self, path):
        with open(path, "wb") as out:
            out.truncate(self.size)
            for at in self._stamps(0, self.size):
                out.seek(at)
                out.write(self._stamp(at))


class Random:
    """`size` bytes that look random and are the same every time; any part can be had alone."""

    def __init__(self, size, seed=0):
        self.size, self.seed = size, seed
        self.key = f"random:{size}:{seed}"

    def _block(self, index):
        return random.Random(f"{self.seed}:{index}").randbytes(min(CHUNK, self.size - index * CHUNK))

    def read(self, offset, length):
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        first = offset // CHUNK
        data = b"".join(self._block(i) for i in range(first, (end - 1) // CHUNK + 1))
        return data[offset - first * CHUNK:end - first * CHUNK]

    def write(self, path):
        with open(path, "wb") as out:
            for index in range((self.size + CHUNK - 1) // CHUNK):
                out.write(self._block(index))


def git_blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer_text(sha256, size):
    return (f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n").encode()


def is_lfs(path, size):
    return size > LFS_SIZE or os.path.splitext(path)[1].lower() in LFS_SUFFIXES


def sha256_of(path):
    digest = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


class HashCache:
    """SHA-256 by key, kept in a file where one is given: a 2 GiB fixture is hashed once, ever."""

    def __init__(self, file=None):
        self._file = file
        self._known = {}
        self._dirty = False
        if file and file.exists():
            try:
                self._known = json.loads(file.read_text())
            except ValueError:
                pass

    def sha256(self, key, path):
        if key not in self._known:
            self._known[key] = sha256_of(path)
            self._dirty = True
        return self._known[key]

    def save(self):
        if not (self._file and self._dirty):
            return
        try:
            side = self._file.with_name(f"{self._file.name}.{os.getpid()}.tmp")
            side.write_text(json.dumps(self._known, indent=0))
            side.replace(self._file)
            self._dirty = False
        except OSError:
            pass


class BlobStore:
    """One file per blob under `folder`: objects/<sha256> for LFS (nginx serves that), git/<oid>."""

    def __init__(self, folder, hashes):
        self.objects, self._git, self._side = folder / "objects", folder / "git", folder / "incoming"
        for each in (self.objects, self._git, self._side):
            each.mkdir(parents=True, exist_ok=True)
        self._hashes = hashes
        self._lock = threading.Lock()
        self._serial = 0

    def put(self, path, content):
        """The blob of `content` (bytes, str, Path, Sparse, Random or File) stored at `path` in a repo."""
        wanted = content if isinstance(content, File) else File(content)
        data = wanted.content
        if isinstance(data, str):
            data = data.encode()
        size = self._size(data)
        lfs = is_lfs(path, size) if wanted.lfs is None else wanted.lfs
        if not lfs:
            data = data if isinstance(data, bytes) else self._bytes(data)
            return self._put_git(data)
        sha256 = self._put_lfs(data, wanted.sha256)
        return Blob(sha256, size, git_blob_id(pointer_text(sha256, size)), self.objects / sha256,
                    sha256, wanted.xet_hash)

    @staticmethod
    def _size(data):
        if isinstance(data, Path):
            return data.stat().st_size
        return len(data) if isinstance(data, bytes) else data.size

    @staticmethod
    def _bytes(data):
        return data.read_bytes() if isinstance(data, Path) else data.read(0, data.size)

    def _put_git(self, data):
        oid = git_blob_id(data)
        self._place(self._git / oid, lambda side: side.write_bytes(data))
        return Blob(oid, len(data), oid, self._git / oid)

    def _put_lfs(self, data, told=None):
        if isinstance(data, bytes):
            sha256 = hashlib.sha256(data).hexdigest()
            self._place(self.objects / sha256, lambda side: side.write_bytes(data))
        elif isinstance(data, Path):
            status = data.stat()
            key = f"{data.resolve()}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
            sha256 = told or self._hashes.sha256(key, data)
            self._place(self.objects / sha256, lambda side: side.symlink_to(data.resolve()))
        else:
            side = self._side_path()
            data.write(side)
            sha256 = self._hashes.sha256(data.key, side)
            os.replace(side, self.objects / sha256)
        self._hashes.save()
        return sha256

    def _side_path(self):
        with self._lock:
            self._serial += 1
            return self._side / str(self._serial)

    def _place(self, target, write):
        if target.exists():
            return
        side = self._side_path()
        write(side)
        os.replace(side, target)


def remove_tree(folder):
    shutil.rmtree(folder, ignore_errors=True)

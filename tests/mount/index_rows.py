# SPDX-License-Identifier: Apache-2.0
"""What the index of a store says while no daemon has it: read with LMDB itself, not with the code under test."""
import ctypes
import ctypes.util
import struct
from dataclasses import dataclass

RDONLY, NOLOCK = 0x20000, 0x400000
FIRST, NEXT = 0, 8


class Val(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("data", ctypes.c_void_p)]

    def bytes(self):
        return ctypes.string_at(self.data, self.size)


@dataclass(frozen=True)
class Row:
    """A row of the table `blobs`, as docs/STORE_FORMAT.md has it."""
    number: int
    verified: bool
    incarnation: int
    size: int
    hash: str


def is_readable():
    return ctypes.util.find_library("lmdb") is not None


def table_of(state, table):
    """(key, value) of every row of a table."""
    lmdb = ctypes.CDLL(ctypes.util.find_library("lmdb"))
    env, txn, cursor = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    handle, key, value = ctypes.c_uint(), Val(), Val()

    def call(name, *args):
        status = getattr(lmdb, name)(*args)
        assert status == 0, f"{name}: {status}"
    call("mdb_env_create", ctypes.byref(env))
    try:
        call("mdb_env_set_maxdbs", env, 64)
        call("mdb_env_open", env, str(state / "hffs-v1/index").encode(), RDONLY | NOLOCK, 0o600)
        call("mdb_txn_begin", env, None, RDONLY, ctypes.byref(txn))
        call("mdb_dbi_open", txn, table.encode(), 0, ctypes.byref(handle))
        call("mdb_cursor_open", txn, handle, ctypes.byref(cursor))
        rows, where = [], FIRST
        while lmdb.mdb_cursor_get(cursor, ctypes.byref(key), ctypes.byref(value), where) == 0:
            rows.append((key.bytes(), value.bytes()))
            where = NEXT
        return rows
    finally:
        if txn:
            lmdb.mdb_txn_abort(txn)
        lmdb.mdb_env_close(env)


def blobs_of(state):
    rows = []
    for key, value in table_of(state, "blobs"):
        version, verified, incarnation, size, digits = struct.unpack_from("<BBIQI", value)
        assert version == 1
        rows.append(Row(struct.unpack(">Q", key)[0], verified == 1, incarnation, size, value[18:18 + digits].decode()))
    return rows

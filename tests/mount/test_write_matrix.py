# SPDX-License-Identifier: Apache-2.0
"""W: each kind of write × what it says (right, wrong, nothing that the Hub has, another's): the answer, and what its writer and
another user see afterwards."""
import os

import pytest
from lab import ALICE, BOB
from world import fresh_bytes


def put(how, path, text):
    """As clients do it: the name of the errno, empty where it succeeds."""
    import errno
    try:
        if how == "link":
            os.symlink(text, path)
            return ""
        made = path if how == "write" else path + (".0a1b2c3d.tmp" if how == "replace" else ".0a1b2c3d.incomplete")
        with open(made, "wb") as file:
            file.write(bytes.fromhex(text))
        if made != path:
            os.rename(made, path)
        return ""
    except OSError as error:
        return errno.errorcode[error.errno]


def look(path):
    """What stands there: bytes, a link's text, or the name of the errno."""
    import errno
    try:
        if os.path.islink(path):
            return os.readlink(path)
        with open(path, "rb") as file:
            return file.read().hex()
    except OSError as error:
        return errno.errorcode[error.errno]


class Place:
    def __init__(self, world, mount):
        self.repo = world.add({"config.json": b"{}", "model.bin": fresh_bytes(5000)})
        self.other = world.add({"model.bin": fresh_bytes(4000)})
        self.private = world.add({"model.bin": fresh_bytes(3000)}, private=True)
        for each in (self.repo, self.other):
            os.listdir(mount.repo(each.id) / "snapshots" / each.commit)
        self.top, self.theirs = mount.repo(self.repo.id), mount.repo(self.private.id)

    def blob(self, of):
        return self.top / "blobs" / of.etags["model.bin"]


GONE = "ENOENT"
# kind, state: how, path, bytes or text → errno; what the writer sees then, and what another does.
ROWS = {
    # A ref is what the Hub says, whoever writes what there.
    ("ref", "right"): lambda at: ("write", at.top / "refs/main", at.repo.commit.encode(), "", at.repo.commit.encode(), at.repo.commit.encode()),
    ("ref", "right, replaced"): lambda at: ("replace", at.top / "refs/main", at.repo.commit.encode(), "", at.repo.commit.encode(), at.repo.commit.encode()),
    ("ref", "wrong"): lambda at: ("write", at.top / "refs/main", b"6" * 40, "", at.repo.commit.encode(), at.repo.commit.encode()),
    ("ref", "wrong, replaced"): lambda at: ("replace", at.top / "refs/main", b"6" * 40, "", at.repo.commit.encode(), at.repo.commit.encode()),
    ("ref", "absent at the Hub"): lambda at: ("write", at.top / "refs/none", at.repo.commit.encode(), "", GONE, GONE),
    ("ref", "another's"): lambda at: ("write", at.theirs / "refs/main", at.private.commit.encode(), GONE, GONE, GONE),
    # A blob is what has its hash, where it is known that the repository has it.
    ("blob", "right"): lambda at: ("download", at.blob(at.repo), at.repo.content["model.bin"], "", at.repo.content["model.bin"], at.repo.content["model.bin"]),
    ("blob", "wrong"): lambda at: ("download", at.blob(at.repo), bytes(5000), "EIO", at.repo.content["model.bin"], at.repo.content["model.bin"]),
    ("blob", "absent at the Hub"): lambda at: ("download", at.top / "blobs" / ("7" * 64), b"x", "EPERM", GONE, GONE),
    ("blob", "another repository's"): lambda at: ("download", at.blob(at.other), at.other.content["model.bin"], "EPERM", GONE, GONE),
    ("blob", "another's"): lambda at: ("download", at.blob(at.private), at.private.content["model.bin"], "EPERM", GONE, GONE),
    # A mark says for its maker alone that there is no such file.
    ("mark", "right"): lambda at: ("write", at.top / ".no_exist" / at.repo.commit / "none.json", b"", "", b"", b""),
    ("mark", "wrong"): lambda at: ("write", at.top / ".no_exist" / at.repo.commit / "config.json", b"", "", b"", GONE),
    ("mark", "absent at the Hub"): lambda at: ("write", at.top / ".no_exist" / ("9" * 40) / "x.json", b"", GONE, GONE, GONE),
    ("mark", "another's"): lambda at: ("write", at.theirs / ".no_exist" / at.private.commit / "x.json", b"", GONE, GONE, GONE),
    # A snapshot is what the Hub lists.
    ("link", "right"): lambda at: ("link", at.top / "snapshots" / at.repo.commit / "model.bin", f"../../blobs/{at.blob(at.repo).name}", "EEXIST",
                                   f"../../blobs/{at.blob(at.repo).name}", f"../../blobs/{at.blob(at.repo).name}"),
    ("link", "wrong"): lambda at: ("link", at.top / "snapshots" / at.repo.commit / "model.bin", "../../blobs/x", "EEXIST",
                                   f"../../blobs/{at.blob(at.repo).name}", f"../../blobs/{at.blob(at.repo).name}"),
    ("link", "absent at the Hub"): lambda at: ("link", at.top / "snapshots" / at.repo.commit / "none.bin", "../../blobs/x", "EPERM", GONE, GONE),
    ("link", "another's"): lambda at: ("link", at.theirs / "snapshots" / at.private.commit / "model.bin", "../../blobs/x", GONE, GONE, GONE),
    # What clients keep for themselves is their own.
    ("tree", "any"): lambda at: ("write", at.top / "trees/x.json", b"{}", "", b"{}", GONE),
    ("lock", "any"): lambda at: ("write", at.blob(at.repo).with_suffix(".lock"), b"", "", b"", GONE),
    ("lock", "another's"): lambda at: ("write", at.theirs / "blobs/x.lock", b"", GONE, GONE, GONE),
}


@pytest.mark.parametrize("kind, state", ROWS)
def test_W1_W6_the_matrix(root, common, make, kind, state):
    how, path, text, answer, mine, theirs = ROWS[kind, state](Place(common.world, common.mount))

    def shown(value):
        return value.hex() if isinstance(value, bytes) else value
    assert make.child(put, how, str(path), shown(text), user=ALICE).result() == answer
    assert [make.child(look, str(path), user=user).result() for user in (ALICE, BOB)] == [shown(mine), shown(theirs)]

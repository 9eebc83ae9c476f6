# SPDX-License-Identifier: Apache-2.0
"""W: what clients write, each user for himself."""
import errno
import os
import shutil
import stat

import pytest
from lab import ALICE, BOB, MIB, entry_modes, errno_of, eventually, exists, refuses
from world import fresh_bytes, quiet


def make_file(path, text="x", flags=os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode=0o644):
    fd = os.open(path, flags, mode)
    os.write(fd, text.encode())
    os.close(fd)


def overlay_places(common, repo):
    """Client contract, rules 20 and 21: (path, whether it is a directory) of what clients make."""
    top, path = common.mount.point, common.mount.repo(repo.id)
    etag, name = repo.etags["config.json"], path.name
    return [(top / ".locks" / name, True), (top / ".locks" / name / f"{etag}.lock", False),
            (top / ".locks/anything/at/all", True), (top / ".locks/anything/at/all/x.lock", False),
            (path / f"blobs/{etag}.lock", False), (path / f"blobs/{etag}.incomplete", False),
            (path / f"blobs/{etag}.0a1b2c3d.incomplete", False), (path / "blobs/tmp_0-1-2-3", False),
            (path / "blobs/tmpdirectory", True), (top / "0123abcdsome-model.lock", False), (top / "tmpabc", False),
            (top / "tmpfolder", True), (path / "tmp12345678", True), (path / "tmp12345678/dummy_file_src", False),
            (path / f"tmp_{etag[:8]}", False), (path / "trees" / f"{repo.commit}.json", False),
            (path / "trees/more", True), (path / "trees/more/x.json", False),
            (path / ".no_exist" / repo.commit / "made.by.me", False), (path / ".no_exist" / ("9" * 40), True),
            (path / ".no_exist" / ("9" * 40) / "x.json", False)]


def test_W1_W2_one_user_never_sees_another_s(root, common, make):
    """Client contract, rule 15: locks, side files and marks, for everything that can be made."""
    repo = common.world.add()
    places = [(str(path), folder) for path, folder in overlay_places(common, repo)]

    def fill(places):
        for path, folder in places:
            if folder:
                os.makedirs(path, exist_ok=True)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as file:
                file.write(f"uid {os.getuid()}")
        return [open(path).read() for path, folder in places if not folder]

    def look(places):
        """What is seen of the files: text, or the errno."""
        found = []
        for path, folder in places:
            if not folder:
                try:
                    found.append(open(path).read())
                except OSError as error:
                    found.append(error.errno)
        return found
    files = sum(not folder for _, folder in places)
    assert make.child(fill, places, user=ALICE).result() == [f"uid {ALICE}"] * files
    seen = make.child(look, places, user=BOB).result()
    # An absence that is synthesised for everybody is an empty file for Bob too.
    assert set(seen) <= {errno.ENOENT, ""}, seen
    assert seen.count("") <= 2
    assert make.child(fill, places, user=BOB).result() == [f"uid {BOB}"] * files
    assert make.child(look, places, user=ALICE).result() == [f"uid {ALICE}"] * files
    assert make.child(look, places, user=BOB).result() == [f"uid {BOB}"] * files


def test_W1_a_walk_by_two_users_at_once(root, common, make):
    """The kernel must ask again for each: no entry of one may answer the other."""
    def churn(path, rounds):
        for number in range(rounds):
            with open(path, "w") as file:
                file.write(f"{os.getuid()} {number}")
            with open(path) as file:
                if file.read() != f"{os.getuid()} {number}":
                    return "read what another wrote"
            found = os.stat(path)
            if found.st_uid != os.getuid():
                return f"saw the file of {found.st_uid}"
            if number % 3 == 0:
                os.unlink(path)
                if os.path.exists(path):
                    return "saw a file after its unlink"
        return "fine"
    path = str(common.mount.point / "shared.lock")
    users = [make.child(churn, path, 300, user=user) for user in (ALICE, BOB)]
    assert [each.result() for each in users] == ["fine", "fine"]


def test_W1_a_written_ref_is_not_seen_by_another(root, common, make):
    repo = common.world.add()
    path = str(common.mount.repo(repo.id) / "refs/main")

    def forge(path, text):
        with open(path + ".0a1b2c3d.tmp", "w") as file:
            file.write(text)
        seen = os.path.exists(path + ".0a1b2c3d.tmp")
        os.replace(path + ".0a1b2c3d.tmp", path)
        with open(path, "w") as file:
            file.write(text)
        return seen

    def look(path):
        return [open(path).read(), sorted(os.listdir(os.path.dirname(path)))]
    assert make.child(forge, path, "6" * 40, user=ALICE).result() is True
    for user in (ALICE, BOB, None):
        assert make.child(look, path, user=user).result() == [repo.commit, ["main"]]


def test_W2_lock_directories_and_files(common):
    """Client contract, rules 15, 20 and 22: mkdir -p succeeds, a lock is 0666 at will, no sticky parent."""
    repo = common.world.add()
    folder = common.mount.point / ".locks" / common.mount.repo(repo.id).name
    with quiet(common.world):
        os.makedirs(folder, exist_ok=True)
        os.makedirs(folder, exist_ok=True)
        assert errno_of(os.mkdir, folder) == errno.EEXIST
        path = folder / f"{repo.etags['config.json']}.lock"
        old = os.umask(0)
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        finally:
            os.umask(old)
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o666
        assert os.fstat(fd).st_nlink == 1
        os.fchmod(fd, 0o664)
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o664
        os.close(fd)
        os.utime(path, (1_000_000, 2_000_000))
        assert os.stat(path).st_mtime == 2_000_000
        for each in (folder, folder.parent):
            assert not os.stat(each).st_mode & stat.S_ISVTX
        assert os.listdir(folder) == [path.name]
        assert errno_of(os.rmdir, folder) == errno.ENOTEMPTY
        os.unlink(path)
        assert errno_of(os.stat, path) == errno.ENOENT
        os.rmdir(folder)
        assert not exists(folder)


def test_W3_everything_that_clients_make_can_be_made(common):
    """Client contract, rules 20 and 21."""
    repo = common.world.add()
    os.listdir(common.mount.repo(repo.id) / "snapshots" / repo.commit)
    # Whether there is such a commit is asked for once (X1).
    assert not exists(common.mount.repo(repo.id) / ".no_exist" / ("9" * 40))
    with quiet(common.world, repo):
        for path, folder in overlay_places(common, repo):
            if folder:
                os.makedirs(path, exist_ok=True)
                assert os.path.isdir(path), path
                continue
            os.makedirs(path.parent, exist_ok=True)
            make_file(path, "text")
            assert path.read_text() == "text", path
            assert entry_modes(path)[0] == stat.S_IFREG
            owner = os.stat(path)
            assert (owner.st_uid, owner.st_gid) == (os.geteuid(), os.getegid())
        for path, folder in overlay_places(common, repo):
            if not folder:
                os.unlink(path)
    # Contract: what clients leave beside is in nobody's way.
    assert sorted(os.listdir(common.mount.repo(repo.id) / "snapshots")) == [repo.commit]


def test_W3_probes_as_huggingface_hub_makes_them(common):
    """The symlink probe and the umask probe of each download."""
    repo = common.world.add()
    path = common.mount.repo(repo.id)
    probe = path / "tmpa1b2c3d4"
    os.mkdir(probe)
    make_file(probe / "dummy_file_src", "")
    os.symlink("dummy_file_src", probe / "dummy_file_dst")
    assert os.readlink(probe / "dummy_file_dst") == "dummy_file_src"
    assert os.path.samefile(probe / "dummy_file_src", probe / "dummy_file_dst")
    assert sorted(os.listdir(probe)) == ["dummy_file_dst", "dummy_file_src"]
    shutil.rmtree(probe)
    assert not exists(probe)
    for folder in (path, path / "blobs"):
        make_file(folder / "tmp_uuid", "")
        assert stat.S_IMODE(os.stat(folder / "tmp_uuid").st_mode) == 0o644
        os.unlink(folder / "tmp_uuid")


def file_semantics(top):
    """An ordinary file system, as far as clients' files go."""
    path = os.path.join(top, "file")
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    assert os.pwrite(fd, b"hello", 10) == 5
    assert os.pread(fd, 20, 0) == b"\0" * 10 + b"hello"
    os.ftruncate(fd, 12)
    assert os.fstat(fd).st_size == 12
    os.ftruncate(fd, 3 << 20)
    assert os.pread(fd, 4, 12) == b"\0\0\0\0"
    os.pwrite(fd, b"z" * (1 << 20), 1 << 20)
    os.fsync(fd)
    os.fdatasync(fd)
    assert os.pread(fd, 3, (2 << 20) - 2) == b"zz\0"
    with mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) as memory:
        assert memory[10:12] == b"he"
    with mmap.mmap(fd, 0, flags=mmap.MAP_SHARED) as memory:
        memory[0:4] = b"mmap"
        memory.flush()
    assert os.pread(fd, 4, 0) == b"mmap"
    os.unlink(path)
    assert os.pread(fd, 4, 0) == b"mmap"  # open, with no name
    os.pwrite(fd, b"still", 0)
    assert os.pread(fd, 5, 0) == b"still"
    os.close(fd)
    with open(path, "a") as file:
        file.write("one")
    with open(path, "a") as file:
        file.write("two")
    assert open(path).read() == "onetwo"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o644
    os.chmod(path, 0o400)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o400
    os.chmod(path, 0o600)
    os.utime(path, (5, 7))
    assert os.stat(path).st_mtime == 7
    os.mkdir(os.path.join(top, "dir"))
    os.mkdir(os.path.join(top, "dir/sub"))
    os.rename(path, os.path.join(top, "dir/sub/moved"))
    assert open(os.path.join(top, "dir/sub/moved")).read() == "onetwo"
    with open(path, "w") as file:
        file.write("new")
    os.replace(path, os.path.join(top, "dir/sub/moved"))
    assert open(os.path.join(top, "dir/sub/moved")).read() == "new"
    os.rename(os.path.join(top, "dir"), os.path.join(top, "dir2"))
    assert open(os.path.join(top, "dir2/sub/moved")).read() == "new"
    open(os.path.join(top, "dir2/file"), "w").close()
    os.mkdir(os.path.join(top, "empty"))
    found = {}
    for name, action, *words in (
            ("rmdir full", os.rmdir, "dir2"), ("unlink directory", os.unlink, "dir2"),
            ("rmdir file", os.rmdir, "dir2/sub/moved"), ("mkdir taken", os.mkdir, "dir2"),
            ("below file", os.stat, "dir2/sub/moved/x"), ("rename none", os.rename, "none", "x"),
            ("file over directory", os.rename, "dir2/file", "empty"),
            ("directory over file", os.rename, "empty", "dir2/file")):
        try:
            action(*(os.path.join(top, word) for word in words))
            found[name] = 0
        except OSError as error:
            found[name] = errno.errorcode[error.errno]
    os.symlink("sub/moved", os.path.join(top, "dir2/link"))
    assert open(os.path.join(top, "dir2/link")).read() == "new"
    assert sorted(os.listdir(os.path.join(top, "dir2"))) == ["file", "link", "sub"]
    for number in range(500):
        open(os.path.join(top, f"many{number}"), "w").close()
    assert len({name for name in os.listdir(top) if name.startswith("many")}) == 500
    shutil.rmtree(top)
    assert not os.path.exists(top)
    return found


@pytest.mark.parametrize("user", [None, ALICE])
def test_W3_overlay_files_behave_like_files(common, make, user):
    if user is not None and os.geteuid() != 0:
        pytest.skip("needs root")
    top = common.mount.point / f"tmpsemantics{user}"
    make.child(make_directory, str(top), user=user).result()
    assert make.child(file_semantics, str(top), user=user).result() == {
        "rmdir full": "ENOTEMPTY", "unlink directory": "EISDIR", "rmdir file": "ENOTDIR", "mkdir taken": "EEXIST",
        "below file": "ENOTDIR", "rename none": "ENOENT", "file over directory": "EISDIR",
        "directory over file": "ENOTDIR"}


def make_directory(path):
    os.mkdir(path)


# A client's own download


def download(repo_dir, locks, etag, size, seed, path, wrong=False):
    """As huggingface_hub does where it misses: lock, probe, incomplete file, rename, pointer, ref.
    The errno of the rename is returned."""
    data = bytearray(random.Random(seed).randbytes(size))
    if wrong:
        data[size // 2] ^= 1
    os.makedirs(locks, exist_ok=True)
    os.makedirs(os.path.join(repo_dir, "blobs"), exist_ok=True)
    lock = os.open(os.path.join(locks, etag + ".lock"), os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    side = os.path.join(repo_dir, "blobs", etag + ".0a1b2c3d.incomplete")
    with open(side, "wb") as file:
        for at in range(0, size, 300_000):
            file.write(data[at:at + 300_000])
    os.statvfs(repo_dir)
    os.chmod(side, 0o644)
    answer = 0
    try:
        os.rename(side, os.path.join(repo_dir, "blobs", etag))
    except OSError as error:
        answer = error.errno
    os.close(lock)
    return answer


def prepared(common, size=2 * MIB + 77):
    seed = f"download {fresh_bytes(4).hex()}"
    import random
    data = random.Random(seed).randbytes(size)
    repo = common.world.add({"model.bin": data})
    path = common.mount.repo(repo.id)
    os.listdir(path / "snapshots" / repo.commit)
    words = [str(path), str(common.mount.point / ".locks" / path.name), repo.etags["model.bin"], size, seed, "model.bin"]
    return repo, data, words


def listed(folder):
    return sorted(os.listdir(folder))


def test_W4_right_bytes_become_everybody_s_blob(common, make):
    """Client contract, rule 25."""
    repo, data, words = prepared(common)
    user = ALICE if os.geteuid() == 0 else None
    assert make.child(download, *words, user=user).result() == 0
    assert common.mount.file(repo, "model.bin").read_bytes() == data
    assert not common.world.content(repo.etags["model.bin"]), "what a client brought was fetched again"
    side = common.mount.blob(repo, "model.bin").with_name(f"{repo.etags['model.bin']}.0a1b2c3d.incomplete")
    # Only its maker could see it.
    assert make.child(listed, str(side.parent), user=user).result() == [repo.etags["model.bin"]]
    assert errno_of(os.open, common.mount.blob(repo, "model.bin"), os.O_WRONLY) == errno.EPERM


def test_W4_a_second_download_of_a_whole_blob(common, make):
    """force_download=True of what everybody has already."""
    repo, data, words = prepared(common)
    assert common.mount.file(repo, "model.bin").read_bytes() == data
    eventually(lambda: make.child(download, *words).result() == 0, 10)
    assert common.mount.file(repo, "model.bin").read_bytes() == data


def test_W4_wrong_bytes_are_nobody_s_blob(common, make):
    repo, data, words = prepared(common)
    user = ALICE if os.geteuid() == 0 else None
    assert make.child(download, *words, True, user=user).result() == errno.EIO
    assert common.mount.file(repo, "model.bin").read_bytes() == data
    assert common.world.content_bytes(repo.etags["model.bin"]) == len(data), "the bytes are the Hub's"
    # Too short, too long, empty.
    repo, data, words = prepared(common)
    for size in (words[3] - 1, words[3] + 1, 0):
        assert make.child(download, *words[:3], size, *words[4:], user=user).result() == errno.EIO, size
    assert common.mount.file(repo, "model.bin").read_bytes() == data


def test_W4_right_bytes_and_more_are_wrong(common):
    """The blob's own bytes with something behind them; and all but the last."""
    repo, data, _ = prepared(common)
    folder = common.mount.repo(repo.id) / "blobs"
    for text in (data + b"x", data + bytes(MIB), data[:-1]):
        side = folder / "a.incomplete"
        side.write_bytes(text)
        with refuses(errno.EIO):
            os.rename(side, common.mount.blob(repo, "model.bin"))
        assert os.stat(side).st_size == len(text), "a refused download is lost"
        os.unlink(side)
    assert common.mount.file(repo, "model.bin").read_bytes() == data


def test_W4_small_files_too(common, make):
    import random
    seed = fresh_bytes(4).hex()
    data = random.Random(seed).randbytes(700)
    repo = common.world.add({"config.json": data})
    path = common.mount.repo(repo.id)
    os.listdir(path / "snapshots" / repo.commit)
    words = [str(path), str(common.mount.point / ".locks" / path.name), repo.etags["config.json"], 700, seed, "config.json"]
    assert make.child(download, *words, True).result() == errno.EIO
    assert make.child(download, *words).result() == 0
    assert common.mount.file(repo, "config.json").read_bytes() == data
    assert not common.world.content(repo.etags["config.json"])


@pytest.mark.parametrize("how", ["write", "truncate"])
def test_W4_writing_after_the_rename_changes_nothing(common, make, how):
    """A descriptor that is kept open over the rename must not write into everybody's blob. Each way by itself: a
    file that is short is noticed, and fetched again."""
    repo, data, words = prepared(common)

    def sly(repo_dir, etag, size, seed, how):
        side = os.path.join(repo_dir, "blobs", etag + ".incomplete")
        fd = os.open(side, os.O_RDWR | os.O_CREAT, 0o644)
        os.write(fd, random.Random(seed).randbytes(size))
        os.fsync(fd)
        try:
            os.rename(side, os.path.join(repo_dir, "blobs", etag))
        except OSError as error:
            return error.errno
        try:
            if how == "write":
                os.pwrite(fd, b"evil", 0)
                os.fsync(fd)
            else:
                os.ftruncate(fd, 3)
        except OSError:
            pass
        try:
            os.close(fd)
        except OSError:
            pass
        return 0
    assert make.child(sly, words[0], words[2], words[3], words[4], how).result() == 0
    assert common.mount.file(repo, "model.bin").read_bytes() == data
    assert make.child(read_again, str(common.mount.blob(repo, "model.bin"))).result() == data[:64].hex()
    assert not common.world.content(repo.etags["model.bin"]), "the blob was spoilt and fetched again"


def read_again(path):
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    return os.pread(fd, 64, 0).hex()


def test_W4_names_that_are_no_known_blob(common):
    repo = common.world.add()
    folder = common.mount.repo(repo.id) / "blobs"
    os.listdir(folder.parent / "snapshots" / repo.commit)
    for name in ("0" * 64, "1" * 40, "model.bin"):
        make_file(folder / "x.incomplete", "x")
        with refuses(errno.EPERM):
            os.rename(folder / "x.incomplete", folder / name)
        assert (folder / "x.incomplete").read_text() == "x"
        assert not exists(folder / name)


def test_W5_repositories_that_the_hub_does_not_show(root, common, make):
    """Client contract, rules 5 and 25: a private repository, with a token that only the client has."""
    private = common.world.add({"config.json": b"{}"}, private=True)
    path = common.mount.repo(private.id)
    assert errno_of(os.stat, path) == errno.ENOENT

    def whole(repo_dir, commit, etag):
        os.makedirs(repo_dir + "/blobs")
        os.makedirs(repo_dir + "/snapshots/" + commit + "/sub")
        os.makedirs(repo_dir + "/refs", exist_ok=True)
        with open(f"{repo_dir}/blobs/{etag}.incomplete", "wb") as file:
            file.write(b"m" * 3_000_000)
        os.rename(f"{repo_dir}/blobs/{etag}.incomplete", f"{repo_dir}/blobs/{etag}")
        os.symlink(f"../../../blobs/{etag}", f"{repo_dir}/snapshots/{commit}/sub/model.bin")
        with open(f"{repo_dir}/refs/main.0a.tmp", "w") as file:
            file.write(commit)
        os.rename(f"{repo_dir}/refs/main.0a.tmp", f"{repo_dir}/refs/main")
        with open(f"{repo_dir}/anything", "w") as file:
            file.write("goes")
        os.rename(f"{repo_dir}/anything", f"{repo_dir}/snapshots/moved")
        os.unlink(f"{repo_dir}/snapshots/moved")
        with open(f"{repo_dir}/snapshots/{commit}/sub/model.bin", "rb") as file:
            content = file.read() == b"m" * 3_000_000
        return [open(repo_dir + "/refs/main").read(), content, sorted(os.listdir(repo_dir)),
                os.path.basename(repo_dir) in os.listdir(os.path.dirname(repo_dir))]

    def look(repo_dir):
        try:
            os.stat(repo_dir)
        except OSError as error:
            return [error.errno, os.path.basename(repo_dir) in os.listdir(os.path.dirname(repo_dir))]
        return [0, True]

    def remove(repo_dir):
        shutil.rmtree(repo_dir)
        return os.path.exists(repo_dir)
    commit, etag = "c" * 40, "e" * 64
    text, content, names, listed = make.child(whole, str(path), commit, etag, user=ALICE).result()
    assert (text, content, listed) == (commit, True, True)
    assert names == ["blobs", "refs", "snapshots"]
    for user in (BOB, None):
        assert make.child(look, str(path), user=user).result() == [errno.ENOENT, False]
    assert make.child(look, str(path), user=ALICE).result() == [0, True]
    assert make.child(remove, str(path), user=ALICE).result() is False


def test_W5_an_own_copy_gives_way_to_the_hubs(make):
    """What a client downloaded by itself while the Hub did not answer us is not what it sees for ever (F1)."""
    world = make.world()
    repo = world.add({"config.json": b"{}"})
    path = make.mount(world).repo(repo.id)
    fault = world.hub.faults.add("status", code=503)
    os.makedirs(path / "snapshots" / repo.commit)
    (path / "snapshots" / repo.commit / "partial").write_bytes(b"x")
    assert os.listdir(path / "snapshots" / repo.commit) == ["partial"]
    fault.remove()
    eventually(lambda: (path / "snapshots" / repo.commit / "config.json").exists(), 20)
    assert os.listdir(path / "snapshots" / repo.commit) == ["config.json"]


def test_W5_repositories_that_the_hub_shows_cannot_be_made_or_removed(common):
    repo = common.world.add()
    path = common.mount.repo(repo.id)
    assert errno_of(os.mkdir, path) == errno.EEXIST
    assert errno_of(os.rmdir, path) == errno.EPERM
    assert errno_of(os.rename, path, common.mount.repo("acme/other")) == errno.EPERM


def test_W6_everything_else_is_eperm(common):
    """Client contract, rule 23: `hf cache rm` survives EPERM, not EROFS."""
    repo = common.world.add({"config.json": b"{}"})
    top, path = common.mount.point, common.mount.repo(repo.id)
    snapshot = path / "snapshots" / repo.commit
    os.listdir(snapshot)
    created = os.O_CREAT | os.O_WRONLY
    denied = [(os.mkdir, top / "foo"), (os.open, top / "foo.txt", created), (os.symlink, "x", top / "link"),
              (os.mkdir, top / "models--a--b--c"), (os.mkdir, path / "foo"), (os.open, path / "foo.txt", created),
              (os.mkdir, path / "snapshots" / ("5" * 40)), (os.open, path / "blobs/foo", created),
              (os.open, path / "blobs" / ("5" * 64), created), (os.mkdir, path / "blobs/foo"),
              (os.symlink, "x", path / "blobs" / ("5" * 40)), (os.rmdir, path / "refs"), (os.rmdir, path / "snapshots"),
              (os.rmdir, snapshot), (os.unlink, path / "blobs" / repo.etags["config.json"]),
              (os.unlink, top / "CACHEDIR.TAG"), (os.unlink, top / "version.txt"), (os.unlink, top / "hub"),
              (os.open, top / "CACHEDIR.TAG", os.O_WRONLY), (os.open, top / "version.txt", os.O_WRONLY | os.O_TRUNC),
              (os.mkfifo, path / "tmpfifo"), (os.rmdir, top / ".locks"), (os.chmod, path, 0o700),
              (os.rename, path / "refs", path / "tmprefs"), (os.rename, snapshot, path / "snapshots" / ("5" * 40))]
    for action, *words in denied:
        assert errno_of(action, *words) == errno.EPERM, (action.__name__, words)
    assert not os.statvfs(top).f_flag & os.ST_RDONLY, "the mount is marked read-only"


def test_W6_what_a_cache_removal_does(common):
    """shutil.rmtree of a repository fails with PermissionError everywhere, and removes nothing."""
    repo = common.world.add({"config.json": b"{}", "sub/x.bin": b"x" * 20_000})
    path = common.mount.repo(repo.id)
    assert (path / "refs/main").read_text() == repo.commit
    os.listdir(path / "snapshots" / repo.commit)
    errors = []
    shutil.rmtree(path, onerror=lambda action, name, info: errors.append((name, info[1])))
    assert errors and all(getattr(error, "errno", None) == errno.EPERM for _, error in errors), errors
    assert common.mount.file(repo, "sub/x.bin").read_bytes() == b"x" * 20_000


def hold_lock(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    fcntl.flock(fd, fcntl.LOCK_EX)
    say("held")
    hear()
    os.close(fd)


def try_lock(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return "mine"
    except BlockingIOError:
        return "taken"


def wait_lock(path):
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    say("asking")
    fcntl.flock(fd, fcntl.LOCK_EX)
    return "mine"


@pytest.mark.parametrize("where", [".locks/a/b.lock", "vllm.lock", "blobs"])
def test_W7_flock_between_processes(common, make, where):
    """Client contract, rule 22: ENOSYS would make clients fall back to soft locks."""
    if where == "blobs":
        repo = common.world.add()
        path = common.mount.repo(repo.id) / "blobs" / f"{repo.etags['config.json']}.lock"
    else:
        path = common.mount.point / where
        if ".locks" in where:
            os.makedirs(path.parent, exist_ok=True)
    holder = make.child(hold_lock, str(path))
    assert holder.heard() == "held"
    assert make.child(try_lock, str(path)).result() == "taken"
    waiter = make.child(wait_lock, str(path))
    assert waiter.heard() == "asking"
    holder.tell()
    assert waiter.result() == "mine"
    holder.result()
    killed = make.child(hold_lock, str(path))
    assert killed.heard() == "held"
    killed.stop()
    assert make.child(try_lock, str(path)).result() == "mine"


def test_W7_two_users_do_not_lock_each_other_out(root, common, make):
    path = str(common.mount.point / "two.lock")
    holder = make.child(hold_lock, path, user=ALICE)
    assert holder.heard() == "held"
    assert make.child(try_lock, path, user=BOB).result() == "mine"
    assert make.child(try_lock, path, user=ALICE).result() == "taken"


def test_W1_W8_a_restart_mixes_nobody_s_files(root, make):
    mount = make.mount(make.world(), "--allow-other")
    path = str(mount.point / "two.lock")

    def write(path):
        with open(path, "w") as file:
            file.write(f"uid {os.getuid()}")

    def look(path):
        try:
            return [open(path).read(), os.stat(path).st_uid]
        except OSError as error:
            return [error.errno, os.getuid()]
    for user in (ALICE, BOB):
        make.child(write, path, user=user).result()
    mount.umount()
    mount.remount()
    for user in (ALICE, BOB):
        assert make.child(look, path, user=user).result() == [f"uid {user}", user]
    assert make.child(look, path).result() == [errno.ENOENT, os.getuid()]


@pytest.mark.parametrize("end", ["umount", "kill9"])
def test_W8_overlay_files_survive(make, end):
    world = make.world()
    mount = make.mount(world)
    repo = world.add()
    path = mount.repo(repo.id)
    os.makedirs(mount.point / ".locks/some/where")
    os.makedirs(path / ".no_exist" / ("7" * 40))
    made = {mount.point / ".locks/some/where/a.lock": "", mount.point / "vllm.lock": "pid 1",
            path / "trees/x.json": "{}", path / ".no_exist" / ("7" * 40) / "a.json": "",
            path / "blobs/0a.incomplete": "half a download"}
    for where, text in made.items():
        make_file(where, text)
    os.chmod(mount.point / "vllm.lock", 0o666)
    os.unlink(mount.point / ".locks/some/where/a.lock")
    del made[mount.point / ".locks/some/where/a.lock"]
    os.rename(mount.point / ".locks/some", mount.point / ".locks/other")
    # One that takes another's place: the other is gone for good.
    make_file(path / "trees/old.json", "old")
    make_file(path / "trees/new.json", "new")
    os.replace(path / "trees/new.json", path / "trees/old.json")
    made[path / "trees/old.json"] = "new"
    fd = os.open(path / "blobs/0a.incomplete", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b", and more")
    os.fsync(fd)
    os.close(fd)
    made[path / "blobs/0a.incomplete"] += ", and more"
    getattr(mount, end)()
    mount.remount()
    assert sorted(os.listdir(path / "trees")) == ["old.json", "x.json"]
    for where, text in made.items():
        assert where.read_text() == text, where
    assert os.listdir(mount.point / ".locks/other/where") == [], "what was removed is back"
    assert stat.S_IMODE(os.stat(mount.point / "vllm.lock").st_mode) == 0o666
    assert os.path.isdir(mount.point / ".locks/other/where")
    assert not exists(mount.point / ".locks/some")


# SPDX-License-Identifier: Apache-2.0
"""The same where the kernel can do less: what an older kernel, or one without the right, leaves of the warm figures."""
import contextlib
import shutil
import subprocess
from pathlib import Path

from .harness import MIB, Case, Skip, at_least, measure
from .programs import mounted
from .warm import both, fill_page_cache, pair


def config_of(version):
    """Of mounts that use nothing newer of FUSE than that version of Linux has; None: what this one has."""
    return f'fuse_features = "{version}"\n' if version else None


@measure("masked", "warm")
def masked(stage):
    """With the kernel's newer FUSE features masked: a second process from the page cache at 0.9 of a plain file's
    speed, in order and by map; with the mount's pages dropped, one reader and four at 1.2 of libfuse's own example
    passthrough_hp --nopassthrough."""
    program = stage.programs.passthrough_hp()
    try:
        with pair(stage, config_of("5.15")) as found:
            yield from cases(stage, program, *found)
    except AssertionError as error:
        if "fuse_features" not in str(error):
            raise
        raise Skip("this hffs does not know fuse_features") from None


@contextlib.contextmanager
def small_pages(stage, plain):
    """The same bytes on an ext4 whose page cache has pages of 4 KiB, as FUSE's has, and as ext4's had before Linux 6.16:
    with data=journal it has no larger ones."""
    folder = stage.folder("small-pages")
    image, point = folder / "image", folder / "mounted"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(plain.stat().st_size * 5 // 4 + 64 * MIB)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop,data=journal", image, point], check=True)
    try:
        small = Path(shutil.copy(plain, point))
        subprocess.run(["mount", "-o", "remount,ro", point], check=True)
        fill_page_cache(stage, small)
        yield small
    finally:
        subprocess.run(["umount", point], check=True)
        shutil.rmtree(folder)


def cases(stage, program, mount, path, plain):
    for name, mode in (("in order", "seq"), ("by map", "map")):
        kept = both(stage, mount, path, plain, mode, {"piece": MIB}, False)
        yield Case(f"a second process, {name}", "speed", at_least(0.9), **kept)
        with small_pages(stage, plain) as small:
            yield Case(f"a second process, {name}, beside small pages", "speed", at_least(0.9),
                       beside="ext4, data=journal", ours=kept["ours"],
                       reference=lambda mode=mode, small=small: stage.read(mode, small, piece=MIB))
    # Only the mount's own pages are dropped: the file behind it stays in memory, and the way through is measured.
    words = [program, plain.parent, stage.folder("passthrough"), "--foreground", "--nopassthrough"]
    with mounted(words, words[2]) as point:
        for readers in (1, 4):
            def read(path, readers=readers):
                return stage.read("seq", path, piece=MIB, procs=readers, forget=1)
            yield Case(f"mount's pages dropped, {readers} reader{'s' * (readers > 1)}", "speed", at_least(1.2),
                       beside="passthrough_hp --nopassthrough", ours=lambda read=read: read(path),
                       reference=lambda read=read: read(point / plain.name))

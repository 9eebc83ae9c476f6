# SPDX-License-Identifier: Apache-2.0
"""A program at a terminal: what it writes, what then stands on the screen, and keys."""
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time

import lab

# What hffs writes beside text: a screen that meets anything else says so.
_PIECES = re.compile(r"\x1b\[(\??)(\d*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)")


class Terminal:
    def __init__(self, *words, env=None, rows=24, columns=100, cwd="/"):
        self.rows, self.columns = rows, columns
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.settings = termios.tcgetattr(theirs)
        self.process = subprocess.Popen([lab.HFFS, *map(str, words)], stdin=theirs, stdout=theirs, stderr=theirs, env=env, cwd=cwd,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self._theirs = theirs  # so that what is left behind can be looked at
        self.written = ""
        self._bytes = b""

    def read(self, seconds=0.0):
        """All that was written until now, or within so many seconds."""
        until = time.monotonic() + seconds
        while select.select([self._ours], [], [], max(0.0, until - time.monotonic()))[0]:
            self._bytes += os.read(self._ours, 65536)
        self.written = self._bytes.decode(errors="strict").replace("\r\n", "\n")
        return self.written

    def until(self, check, seconds=20, what="the terminal"):
        """Reads until `check()` of the screen's lines holds: its value."""
        end = time.monotonic() + seconds
        while True:
            self.read(0.05)
            found = check(self.screen())
            if found:
                return found
            assert time.monotonic() < end, f"{what}: the screen has\n" + "\n".join(self.screen())

    def screen(self):
        """The lines that stand there. Nothing scrolls: a program that writes below the last row fails."""
        lines, row, column = [""], 0, 0
        at = 0
        while at < len(self.written):
            piece = _PIECES.match(self.written, at)
            if piece is None:
                assert "\x1b" not in self.written[at + 1:at + 8] and len(self.written) - at < 8, repr(self.written[at:at + 20])
                break  # a code of which the end has not come
            at = piece.end()
            private, number, code, turn, text = piece.groups()
            if turn == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif turn == "\r":
                column = 0
            elif text is not None:
                lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text):]
                column += len(text)
            elif code == "A":
                row -= int(number or 1)
                assert row >= 0, "above the first row"
                broken = [line for line in lines[row:] if len(line) >= self.columns]
                assert not broken, f"rows that the terminal breaks are not written over: {broken}"
            elif code == "J":
                lines = [""] * (row + 1) if number == "2" else [*lines[:row], lines[row][:column]]
            elif code == "K":
                lines[row] = lines[row][:column]
            elif code == "H":
                row = column = 0
            else:
                assert private or code == "m", f"an unknown code: {piece.group(0)!r}"
        return lines

    def press(self, keys):
        os.write(self._ours, keys.encode())

    def end(self, seconds=20):
        """The exit status; the terminal is as it was."""
        until = time.monotonic() + seconds
        while self.process.poll() is None:
            self.read(0.05)
            assert time.monotonic() < until, "it does not end: the screen has\n" + "\n".join(self.screen())
        self.read(0.1)
        assert termios.tcgetattr(self._theirs) == self.settings, "the terminal's settings are not what they were"
        self.close()
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for fd in {self._ours, self._theirs} - {None}:
            os.close(fd)
        self._ours = self._theirs = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._ours is not None:
            self.close()

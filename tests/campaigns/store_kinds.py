# SPDX-License-Identifier: Apache-2.0
"""The ways in which a store of bytes goes wrong: a function of a Turn each, by its name. See kinds.py for what is promised of them."""
import gzip
import itertools
import time
import zlib

PORTAL = b"<!DOCTYPE html><html><head><title>Login</title></head><body>Please accept the terms.</body></html>"


def headed(status=206, **headers):
    """The right bytes under a changed head; the connection goes on."""
    def fault(turn):
        said = {name: value(turn) if callable(value) else value for name, value in headers.items()}
        turn.say(turn.head(status, **said), turn.data)
        return "Connection" not in said
    return fault


def ranged(shift=0, end=0, total=0):
    return headed(Content_Range=lambda turn: f"bytes {turn.first + shift}-{turn.last + shift + end}/{turn.size + total}")


def status(code, body=b"", **headers):
    def fault(turn):
        turn.say(turn.head(code, Content_Range=None, Content_Length=str(len(body)), **headers), body)
        return True
    return fault


def other_bytes(change):
    """The right head over the same number of bytes, changed."""
    def fault(turn):
        data = change(turn)
        turn.say(turn.head(), data)
        return True
    return fault


def flip(turn):
    # Where every range that covers the place has it, so that a second attempt does not mend it.
    data, at = bytearray(turn.data), max(0, turn.size // 2 - turn.first) % len(turn.data)
    data[at] ^= 0x10
    return data


def cut(keep, announce=True):
    """The connection ends after `keep` of the body."""
    def fault(turn):
        turn.say(turn.head(Content_Length=str(len(turn.data)) if announce else None), turn.data[:int(len(turn.data) * keep)])
    return fault


def raw(head, *rest):
    """What stands here, then the right bytes, then the end."""
    def fault(turn):
        turn.say(head.format(first=turn.first, last=turn.last, size=turn.size, length=len(turn.data)).encode("latin-1"), turn.data, *rest)
    return fault


def coded(name, code):
    def fault(turn):
        body = code(turn.data)
        turn.say(turn.head(Content_Encoding=name, Content_Length=str(len(body))), body)
        return True
    return fault


def chunked(close=b"0\r\n\r\n", size=None, **headers):
    def fault(turn):
        turn.say(turn.head(Content_Length=headers.get("length"), Transfer_Encoding="chunked"))
        for at in range(0, len(turn.data), 65536):
            piece = turn.data[at:at + 65536]
            turn.say(f"{len(piece):x}".encode() if size is None else size, b"\r\n", piece, b"\r\n")
        turn.say(close)
        return close.endswith(b"\r\n\r\n")
    return fault


def endless(first, *again):
    def fault(turn):
        turn.say(first)
        for piece in itertools.cycle(again):
            if turn.healed.is_set():
                return
            turn.say(piece)
    return fault


def drip(piece, pause, head_too=False):
    def fault(turn):
        text = turn.head() + turn.data
        if not head_too:
            turn.say(turn.head())
            text = turn.data
        for at in range(0, len(text), piece):
            turn.say(text[at:at + piece])
            if not turn.wait(pause):
                turn.say(text[at + piece:])
                return
    return fault


def silence(at=None, then="wait"):
    """After so much of the body (None: before the answer, -1: within the head)."""
    def fault(turn):
        if at == -1:
            turn.say(turn.head()[:40])
        elif at is not None:
            turn.say(turn.head(), turn.data[:int(len(turn.data) * at)])
        getattr(turn, then)()
    return fault


def redirect(location, code=302):
    def fault(turn):
        where = location(turn) if callable(location) else location
        turn.say(turn.head(code, Content_Range=None, Content_Length="0", Location=where))
        return True
    return fault


def hops(most):
    """So many redirects to addresses that are new each time, then the bytes."""
    def fault(turn):
        number = int(turn.target.partition("hop=")[2] or 0)
        if number >= most:
            turn.say(turn.head(), turn.data)
            return True
        return redirect(f"{turn.target.partition('&hop=')[0]}&hop={number + 1}")(turn)
    return fault


def late(seconds):
    def fault(turn):
        time.sleep(seconds)
        turn.say(turn.head(), turn.data)
        return True
    return fault


def whole_file(turn, more=0):
    with open(turn.made.source, "rb") as file:
        turn.say(turn.head(200, Content_Range=None, Content_Length=str(turn.size + more)), file.read())
    return not more


def etag_in_midfile(turn):
    turn.say(turn.head(ETag=f'"{turn.first:064x}"'), turn.data)
    return True


def long_body(turn):
    turn.say(turn.head(Content_Length=None, Connection="close"), turn.data, b"\0" * 70_000)


RIGHT = "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}\r\n"

# What may be answered rightly in spite of it: the answer is odd, and not wrong.
HARMLESS = {
    "whole file for a range": whole_file,
    "unknown total": headed(Content_Range=lambda turn: f"bytes {turn.first}-{turn.last}/*"),
    "no length, closed": headed(Content_Length=None, Connection="close"),
    "chunked": chunked(),
    "identity encoding": headed(Content_Encoding="identity"),
    "other content type": headed(Content_Type="text/html"),
    "no content type": headed(Content_Type=None),
    "no Accept-Ranges": headed(Accept_Ranges="none"),
    "date of 1970": headed(Date="Thu, 01 Jan 1970 00:00:00 GMT"),
    "date of 2099": headed(Date="Thu, 01 Jan 2099 00:00:00 GMT", Age="-5"),
    "no date, odd date": headed(Date="yesterday"),
    "ETag changes in mid-file": etag_in_midfile,
    "weak ETag": headed(ETag='W/"x"'),
    "late by 0.3 s": late(0.3),
    "redirect, relative": hops(1),
    "19 redirects": hops(17),
    "100-continue first": raw("HTTP/1.1 100 Continue\r\n\r\n" + RIGHT + "Content-Length: {length}\r\nConnection: close\r\n\r\n"),
    "103 early hints first": raw("HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" + RIGHT + "Content-Length: {length}\r\nConnection: close\r\n\r\n"),
    "lines end with LF alone": raw((RIGHT + "Content-Length: {length}\r\nConnection: close\r\n\r\n").replace("\r", "")),
    "HTTP/1.0": raw(RIGHT.replace("1.1", "1.0") + "Content-Length: {length}\r\n\r\n"),
    "a cookie": headed(Set_Cookie="a=b; Path=/"),
    "more than was announced": raw(RIGHT + "Content-Length: {length}\r\n\r\n", b"x" * 5000),
}

# What must not be believed, or brings nothing.
WRONG = {
    "range starts late": ranged(1), "range starts early": ranged(-1), "range starts a block late": ranged(1 << 20),
    "range ends late": ranged(end=1), "range ends early": ranged(end=-1), "total too large": ranged(total=1),
    "total too small": ranged(total=-1), "total huge": headed(Content_Range=lambda turn: f"bytes {turn.first}-{turn.last}/{1 << 62}"),
    "no Content-Range": headed(Content_Range=None), "Content-Range of letters": headed(Content_Range="bytes a-b/c"),
    "Content-Range reversed": headed(Content_Range="bytes 5-4/3"), "Content-Range in lines": headed(Content_Range="lines 0-5/9"),
    "Content-Range overflows": headed(Content_Range="bytes 99999999999999999999-99999999999999999999/9"),
    "Content-Range unsatisfied": headed(Content_Range="bytes */9"),
    "multipart": headed(Content_Type="multipart/byteranges; boundary=x"),
    "whole file of another length": lambda turn: whole_file(turn, 1),
    "200 with a part": headed(200, Content_Range=None),
    "416": status(416), "416 with another total": lambda turn: turn.say(turn.head(416, Content_Range="bytes */7", Content_Length="0")),
    "length of the body short": cut(0.5), "no body": cut(0), "one byte short": cut(0.999999), "short without length": cut(0.7, False),
    "Content-Length below the range": headed(Content_Length=lambda turn: str(len(turn.data) - 1), Connection="close"),
    "Content-Length above the range": headed(Content_Length=lambda turn: str(len(turn.data) + 1), Connection="close"),
    "body too long": long_body,
    "gzip": coded("gzip", lambda data: gzip.compress(data, 1)), "deflate": coded("deflate", lambda data: zlib.compress(data, 1)),
    "brotli, so it says": coded("br", bytes), "no such encoding": coded("rot13", bytes),
    "another commit": headed(X_Repo_Commit="9" * 40), "another commit and ETag": headed(X_Repo_Commit="9" * 40, ETag='"' + "0" * 64 + '"'),
    "another linked size": headed(X_Repo_Commit="9" * 40, X_Linked_Size="7"),
    "page of a portal": status(200, PORTAL, Content_Type="text/html"), "511": status(511, PORTAL, Content_Type="text/html"),
    "redirect to a portal": redirect("http://127.0.0.1:9/login"), "204": status(204), "304": status(304), "205": status(205),
    **{str(code): status(code) for code in (400, 401, 403, 404, 405, 407, 408, 409, 410, 412, 418, 421, 425, 451, 500, 501, 502, 503, 504, 507,
                                             529, 599)},
    "status 999": status(999), "status 000": status("000"),
    "429": status(429), "429, 1 s": status(429, Retry_After="1"), "429 for a day": status(429, Retry_After="86400"),
    "429 until 2065": status(429, Retry_After="Wed, 21 Oct 2065 07:28:00 GMT"), "429, odd": status(429, Retry_After="soon"),
    "429, before": status(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "503, 1 s": status(503, Retry_After="1"), "503 for a day": status(503, Retry_After="86400"), "503, below 0": status(503, Retry_After="-7"),
    "chunk of a bad size": chunked(size=b"zz"), "chunks end early": chunked(close=b""), "chunk too large": chunked(size=b"fffffffffffffffff"),
    "redirect in a circle": redirect(lambda turn: turn.target), "redirect without a place": status(302), "redirect to nothing": redirect(""),
    "redirect to two slashes": redirect("//"), "redirect to a file": redirect("file:///etc/passwd"), "redirect to gopher": redirect("gopher://127.0.0.1/x"),
    "redirect to a port that is none": redirect("http://127.0.0.1:99999/x"), "redirect to a closed port": redirect("http://127.0.0.1:9/x"),
    "redirect to nowhere": redirect("http://no-such-host.invalid/x"), "redirect with letters": redirect("http://[::1/x"),
    "25 redirects": hops(25), "redirects without an end": hops(1 << 30), "redirect of 1 MiB": redirect("/" + "x" * (1 << 20)),
    "header of 1 MiB": lambda turn: turn.say(b"HTTP/1.1 206 OK\r\nX-More: ", b"x" * (1 << 20), b"\r\n\r\n"),
    "header without an end": endless(b"HTTP/1.1 206 OK\r\nX-More: ", b"x" * 65536),
    "headers without an end": endless(b"HTTP/1.1 206 OK\r\n", b"X-More: " + b"x" * 4000 + b"\r\n"),
    "hints without an end": endless(b"", b"HTTP/1.1 103 Hints\r\nLink: </x>\r\n\r\n" * 50),
    "status line of letters": raw("HELLO there\r\n\r\n"), "no status line": raw(""), "an HTTP/2 preface": raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "ssh": raw("SSH-2.0-OpenSSH_9.2\r\n"), "NUL in a header": raw(RIGHT + "X-Odd: a\0b\r\nContent-Length: {length}\r\n\r\n"),
    "header without a colon": raw("HTTP/1.1 206 OK\r\nnonsense\r\n\r\n"), "Content-Length of letters": raw(RIGHT + "Content-Length: ten\r\n\r\n"),
    "Content-Length below 0": raw(RIGHT + "Content-Length: -1\r\n\r\n"), "Content-Length overflows": raw(RIGHT + "Content-Length: 99999999999999999999\r\n\r\n"),
    "two Content-Lengths": raw(RIGHT + "Content-Length: 7\r\nContent-Length: {length}\r\n\r\n"),
    "drip of 1000 bytes/s": drip(100, 0.1), "drip of a byte/s": drip(1, 1.0), "drip of headers": drip(4, 0.3, True),
    "silence": silence(), "silence in the head": silence(-1), "silence in the body": silence(0.3), "silence before the last byte": silence(0.999999),
    "reset": silence(then="reset"), "reset in the head": silence(-1, "reset"), "reset in the body": silence(0.5, "reset"),
    "half closed": silence(then="half_close"), "half closed in the body": silence(0.4, "half_close"), "closed at once": lambda turn: None,
}

# Right in all that can be seen without reading: only the hash tells.
LIES = {
    "one bit": other_bytes(flip), "zeros": other_bytes(lambda turn: bytes(len(turn.data))),
    "a page of HTML": other_bytes(lambda turn: (PORTAL * (len(turn.data) // len(PORTAL) + 1))[:len(turn.data)]),
    "shifted by one": other_bytes(lambda turn: turn.data[1:] + b"x"), "backwards": other_bytes(lambda turn: turn.data[::-1]),
    "chunks without an end": endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"),
    "200 with a part, no length": lambda turn: turn.say(turn.head(200, Content_Range=None, Content_Length=None), turn.data),
}

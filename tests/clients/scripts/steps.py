# SPDX-License-Identifier: Apache-2.0
"""What every client script does around its steps: JSON in, one line of JSON per step out."""
import hashlib
import json
import sys


def read_request():
    return json.loads(sys.argv[1])


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            digest.update(piece)
    return digest.hexdigest()


def run(name, work):
    """Runs one step; `work` gives the fields of its line. An error of the client is a result, too."""
    sys.stderr.write(f"\n=== step {name}\n")
    sys.stderr.flush()
    try:
        said = work()
    except Exception as error:
        said = {"error": type(error).__name__, "text": str(error)[:2000]}
    sys.stderr.flush()
    print(json.dumps({"step": name, **said}), flush=True)

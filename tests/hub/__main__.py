# SPDX-License-Identifier: Apache-2.0
"""scripts/test-hub: serves a folder of repositories until Ctrl-C."""
import argparse
import signal
import sys
import threading
from pathlib import Path

from .hub import Hub


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(prog="test-hub", description="A Hugging Face Hub on loopback, for trying "
                                     "clients without the real one. tests/hub/README.md describes DIR.")
    parser.add_argument("folder", metavar="DIR", type=Path, help="DIR/models/ORG/NAME/FILES…; made with --demo")
    parser.add_argument("--demo", action="store_true", help="first write a small real model into DIR")
    parser.add_argument("--port", type=int, default=0, help="of the Hub's API (default: any free one)")
    parser.add_argument("--nginx", action=argparse.BooleanOptionalAction, default=True,
                        help="send large files by nginx over TLS, as the Hub's storage does (default)")
    parser.add_argument("--log", metavar="FILE", help="append one line of JSON for each request")
    parser.add_argument("--rate-limit", metavar="API,RESOLVE[,SECONDS]", type=rate_limit,
                        help="requests allowed in each window (the Hub's: 500,3000,300)")
    parser.add_argument("--bytes-per-second", type=int, default=0, metavar="N", help="limit each nginx connection")
    parser.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], type=setting,
                        help="any setting of tests/hub/settings.py")
    return parser.parse_args(arguments)


def rate_limit(text):
    numbers = [int(part) for part in text.split(",")]
    if not 2 <= len(numbers) <= 3 or min(numbers) < 1:
        raise argparse.ArgumentTypeError("API,RESOLVE or API,RESOLVE,SECONDS")
    return numbers


def setting(text):
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("NAME=VALUE")
    if value in ("true", "false"):
        return name, value == "true"
    try:
        return name, float(value) if "." in value else int(value)
    except ValueError:
        return name, value


def main(arguments=None):
    options = parse_arguments(arguments)
    if options.demo:
        from .models import write_demo
        write_demo(options.folder)
    if not options.folder.is_dir():
        sys.exit(f"test-hub: {options.folder} is not a folder (--demo makes one)")
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    try:
        hub = Hub(options.folder, nginx=options.nginx, port=options.port, log_file=options.log, **dict(options.set))
    except (AttributeError, RuntimeError, ValueError) as error:
        sys.exit(f"test-hub: {error}")
    if options.rate_limit:
        hub.limits.set(*options.rate_limit)
    if options.nginx and options.bytes_per_second:
        hub.nginx.rate = options.bytes_per_second
    with hub:
        tell(hub)
        while not ended.wait(1):
            if options.log and hub.nginx:
                hub.origin_requests()  # nginx's lines reach the log file as they come
    return 0


def tell(hub):
    for repo in hub.repos.all():
        print(f"# {repo.type} {repo.id}: {len(repo.commit.files)} files, "
              f"{sum(blob.size for blob in repo.commit.files.values())} bytes")
    print(f"# control: {hub.control_endpoint}/_test/   large files: {hub.origin_endpoint}")
    print(f"export HF_ENDPOINT={hub.endpoint}")
    if hub.ca_file:
        print("export", *(f"{name}={value}" for name, value in hub.env().items() if name != "HF_ENDPOINT"))
    print("# Ctrl-C ends it", flush=True)


if __name__ == "__main__":
    sys.exit(main())

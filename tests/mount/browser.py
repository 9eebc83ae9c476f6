# SPDX-License-Identifier: Apache-2.0
"""A real browser without a screen: Chromium, by chromedriver, over the WebDriver protocol (https://www.w3.org/TR/webdriver2/)."""
import base64
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")


def why_not():
    """Why there is no browser here, or None."""
    return None if CHROMIUM and DRIVER else "NO BROWSER: chromium and chromedriver (Debian: chromium-driver) are not installed"


class Browser:
    """One window. It finds no host by name: what a page loads comes from this machine or not at all."""

    def __init__(self, width=1200, height=900, dark=False):
        self._home = tempfile.mkdtemp(prefix="hffs-browser-")
        self._driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                                        env={**os.environ, "HOME": self._home, "TMPDIR": self._home}, start_new_session=True)
        self._base = None
        for line in self._driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                self._base = f"http://127.0.0.1:{found[1]}/session"
                break
        options = {"binary": CHROMIUM, "args": [
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", f"--user-data-dir={self._home}/profile",
            f"--window-size={width},{height}", *(["--force-dark-mode"] if dark else [])]}
        made = self._ask("POST", "", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}})
        self._base += "/" + made["sessionId"]
        self.command("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.command("Emulation.setEmulatedMedia",
                     features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self._ask("DELETE", "")
        finally:
            self._driver.terminate()
            self._driver.wait(10)
            shutil.rmtree(self._home, ignore_errors=True)

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def command(self, name, **words):
        return self._ask("POST", "/goog/cdp/execute", {"cmd": name, "params": words})

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    def run(self, script):
        """What the function body `script` returns in the page."""
        return self._ask("POST", "/execute/sync", {"script": script, "args": []})

    def until(self, script, timeout=20):
        deadline = time.monotonic() + timeout
        while True:
            found = self.run(script)
            if found:
                return found
            text = "" if time.monotonic() < deadline else self.run("return document.body.innerText")
            assert time.monotonic() < deadline, f"{script} did not come true; the page reads:\n{text}"
            time.sleep(0.1)

    def complaints(self):
        """What the browser's console has been told since the last look."""
        return [each["message"] for each in self._ask("POST", "/se/log", {"type": "browser"}) if each["level"] == "SEVERE"]

    def screenshot(self, path):
        Path(path).write_bytes(base64.b64decode(self._ask("GET", "/screenshot")))

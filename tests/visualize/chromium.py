"""Headless Chromium by its DevTools protocol, over two pipes: no socket, no driver package."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
#: The pipes that Chromium reads from and writes to, by its own convention.
READS, WRITES = 3, 4


class Browser:
    """One tab. Requests are answered one after the other; what else is said is kept in `events`."""

    def __init__(self, to: BinaryIO, of: BinaryIO) -> None:
        self._to, self._of = to, of
        self._session: str | None = None
        self._number = 0
        self.events: list[dict[str, Any]] = []
        tab = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=tab, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        request = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            request["sessionId"] = self._session
        self._to.write(json.dumps(request).encode() + b"\0")
        self._to.flush()
        while True:
            message = self._listen()
            if message.get("id") == self._number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def _listen(self) -> dict[str, Any]:
        said = bytearray()
        while (letter := self._of.read(1)) != b"\0":
            assert letter, "Chromium has gone"
            said += letter
        message: dict[str, Any] = json.loads(said)
        return message

    def open(self, path: Path) -> None:
        """Show a page; returns when its scripts have run."""
        self.events.clear()
        self.ask("Page.navigate", url=path.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._listen())

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[dict[str, Any]]:
        """Errors of scripts, and what the browser itself had to say."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def requested(self) -> list[str]:
        """The addresses of all that the page asked for."""
        sent = "Network.requestWillBeSent"
        events = [event for event in self.events if event.get("method") == sent]
        return [event["params"]["request"]["url"] for event in events]

    def screenshot(self, path: Path, width: int, scheme: str = "light") -> None:
        """The whole page as a PNG."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.ask("Emulation.setDeviceMetricsOverride", **metrics)
        shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Chromium with an empty profile in a folder, ended afterwards."""
    assert PROGRAM is not None
    requests, to = os.pipe()
    of, answers = os.pipe()

    def number_pipes() -> None:
        """In the new process: give the pipes the numbers that Chromium knows them by."""
        # Their own numbers may be these: so out of the way first.
        aside = [fcntl.fcntl(pipe, fcntl.F_DUPFD, 10) for pipe in (requests, answers)]
        os.dup2(aside[0], READS)
        os.dup2(aside[1], WRITES)

    process = subprocess.Popen(
        [PROGRAM, *OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}"],
        preexec_fn=number_pipes,
        close_fds=False,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(requests)
    os.close(answers)
    with os.fdopen(to, "wb") as sink, os.fdopen(of, "rb") as source:
        try:
            found = Browser(sink, source)
            yield found
            found._session = None
            found.ask("Browser.close")
        finally:
            process.kill()
            process.wait()

"""Headless Chromium, controlled over a pipe with its own protocol, without a driver.

The protocol is https://chromedevtools.github.io/devtools-protocol/: JSON messages, each followed
by a null byte, on file descriptors 3 (to the browser) and 4 (from it).
"""

import json
import os
import select
import subprocess
import tempfile
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.required_tools import require

_PATIENCE = 30.0
_FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # not available to root in containers
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
)


class Page:
    """One tab. `complaints` are console errors, exceptions, failed loads and CSP violations."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._buffer = b""
        self._count = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Sends a command and returns its result."""
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _PATIENCE
        while True:
            answer = self._next(deadline)
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]

    def open(self, url: str) -> None:
        answer = self.call("Page.navigate", url=url)  # returns once the new document exists
        assert "errorText" not in answer, answer
        self.wait("document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = _PATIENCE) -> None:
        """Waits until an expression is true in the page."""
        deadline = time.monotonic() + seconds
        while not self.run(f"!!({condition})"):
            text = self.run("document.body?.innerText")
            assert time.monotonic() < deadline, f"never: {condition}; the page shows: {text}"
            time.sleep(0.05)

    def choose_files(self, selector: str, *paths: Path) -> None:
        """Chooses files, as in the file dialog."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def press(self, key: str, code: int) -> None:
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code)

    def set_screen(self, width: int, height: int, *, dark: bool = False) -> None:
        """Emulates a screen of this size; narrow ones are phones."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.call("Emulation.setDeviceMetricsOverride", mobile=width < 600, **size)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """``mousePressed``, ``mouseMoved``, ``mouseReleased`` or ``mouseWheel`` at a point."""
        held = {} if kind == "mouseWheel" else {"button": "left", "buttons": 1, "clickCount": 1}
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **(held | more))

    def screenshot(self, file: Path, width: int, height: int, *, dark: bool = False) -> None:
        self.set_screen(width, height, dark=dark)
        file.write_bytes(self.picture())

    def picture(self) -> bytes:
        """The screen as PNG."""
        return b64decode(self.call("Page.captureScreenshot")["data"])

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            assert select.select([self._from], [], [], max(left, 0))[0], "Chromium does not answer"
            got = os.read(self._from, 1 << 16)
            assert got, "Chromium has ended"
            self._buffer += got
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, event: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(str(event["exceptionDetails"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] in ("error", "warning"):
            self.complaints.append(event["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "warning"):
            self.complaints.append(str(event["args"]))


@contextmanager
def chromium() -> Iterator[Page]:
    """A new browser with one empty page; skips where Chromium is missing."""
    require("chromium", "make system-packages")
    in_end, to_browser = os.pipe()
    from_browser, out_end = os.pipe()
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
        # Bash moves the pipes to the descriptors that the protocol requires.
        script = f'exec chromium "$@" 3<&{in_end} 4>&{out_end}'
        process = subprocess.Popen(
            ["bash", "-c", script, "bash", *_FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(in_end, out_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(in_end)
        os.close(out_end)
        try:
            yield Page(to_browser, from_browser)
        finally:
            os.close(to_browser)  # it then exits
            os.close(from_browser)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

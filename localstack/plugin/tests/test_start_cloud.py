"""The fixture that starts a LocalStack, with a process that is none."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

SERVER = f"""#!{sys.executable}
import http.server, os, pathlib

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"no JSON")

pathlib.Path("pid").write_text(str(os.getpid()))
host, port = os.environ["GATEWAY_LISTEN"].split(":")
http.server.HTTPServer((host, int(port)), Page).serve_forever()
"""


def test_a_localstack_that_does_not_start_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start_another_cloud: Any
) -> None:
    server = tmp_path / "server"
    server.write_text(SERVER)
    server.chmod(0o755)
    monkeypatch.setenv("LOCALSTACK_PYTHON", str(server))
    with pytest.raises(ValueError, match="Expecting value"):
        start_another_cloud(tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)

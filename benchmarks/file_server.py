"""A fast HTTP/1.1 server of the files in a folder, held in memory; prints its port.

python -m benchmarks.file_server FOLDER
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def main(folder: Path) -> None:
    """Serves until the process is stopped."""
    contents = {f"/{file.name}": file.read_bytes() for file in folder.iterdir()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open
        wbufsize = -1  # head and body in one packet

        def do_GET(self) -> None:
            content = contents[self.path.partition("?")[0]]
            self.send_response(200)
            self.send_header("Content-Type", "image/jpeg")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A stand-in for the Hugging Face Hub: the few requests of pushing and fetching one agent."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "0" * 40


class Hub:
    """Repositories by name, each a dictionary from file names to contents.

    Args:
        address: to be given as HF_ENDPOINT.
        repos: what it holds.
        private: names that were made private.
        requests: (method, path) in order.
    """

    def __init__(self) -> None:
        self.address = ""
        self.repos: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.requests: list[tuple[str, str]] = []


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """A stand-in that listens on this machine alone."""
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(code)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if "Content_Length" not in headers:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def file(self) -> None:
            hub.requests.append((self.command, self.path))
            name, _, rest = unquote(self.path).strip("/").partition("/resolve/")
            revision, _, wanted = rest.partition("/")
            if name not in hub.repos:
                self.answer(404, X_Error_Code="RepoNotFound", X_Error_Message="no such repository")
            elif revision not in ("main", COMMIT):
                self.answer(404, X_Error_Code="RevisionNotFound")
            elif wanted not in hub.repos[name]:
                self.answer(404, X_Error_Code="EntryNotFound")
            else:
                data = hub.repos[name][wanted]
                self.answer(
                    200,
                    data,
                    ETag=f'"{hashlib.sha256(data).hexdigest()}"',
                    X_Repo_Commit=COMMIT,
                    Content_Length=str(len(data)),
                )

        do_GET = do_HEAD = file  # noqa: N815

        def do_POST(self) -> None:
            hub.requests.append(("POST", self.path))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if "authorization" not in {name.lower() for name in self.headers}:
                self.answer(401, b'{"error": "Invalid username or password."}')
            elif self.path == "/api/repos/create":
                asked = json.loads(body)
                name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
                hub.repos.setdefault(name, {})
                if asked.get("private") or asked.get("visibility") == "private":
                    hub.private.add(name)
                self.answer(200, json.dumps({"url": f"{hub.address}/{name}"}).encode())
            elif "/preupload/" in self.path:
                files = json.loads(body)["files"]
                mode = {"uploadMode": "regular", "shouldIgnore": False}
                modes = [{"path": f["path"], **mode} for f in files]
                self.answer(200, json.dumps({"files": modes}).encode())
            elif "/commit/" in self.path:
                name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
                for line in body.splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        value = entry["value"]
                        hub.repos[name][value["path"]] = base64.b64decode(value["content"])
                done = {"commitUrl": f"{hub.address}/{name}/commit/{COMMIT}", "commitOid": COMMIT}
                self.answer(200, json.dumps({**done, "hookOutput": ""}).encode())
            else:
                self.answer(200, b"{}")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()

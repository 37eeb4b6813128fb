"""A real Postgres server, started for the tests that ask for it; they are skipped where none is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NOBODY = 65534


def program(name: str) -> str:
    """Return a program of Postgres; Debian keeps them away from the usual places."""
    found = shutil.which(name) or max(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), default="")
    if not found:
        pytest.skip("no Postgres server is installed")
    return found


def new_database(server: str) -> str:
    """Return the URL of an empty database on a server."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


@contextmanager
def running() -> Iterator[str]:
    """Start a server on a socket of its own, as a user without rights where the tests run as root; yield its URL."""
    import psycopg

    initdb, postgres = program("initdb"), program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="dyna-pg-"))
    who: dict[str, Any] = {}
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    data = str(folder / "data")
    quiet: dict[str, Any] = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **who}
    subprocess.run([initdb, "-D", data, "-U", "postgres", "-A", "trust", "-N"], check=True, **quiet)
    command = [postgres, "-D", data, "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
    process = subprocess.Popen(command, **quiet)
    url = f"postgresql://postgres@/postgres?host={folder}"
    try:
        for _ in range(200):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        yield url
    finally:
        process.send_signal(signal.SIGQUIT)  # at once, whoever is still connected
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)

"""Starts a browser, waits for its end, however that comes, and takes its profile away.

Runs as a process of its own between the one that uses the browser and the browser itself::

    python keeper.py READ WRITE PROFILE COMMAND…

The browser gets the descriptors READ and WRITE as 3 and 4, where Chromium speaks with ``--remote-debugging-pipe``. It
ends when the other end of them is closed, so also when the process that uses it is killed. Nothing of this package is
imported: that would take longer than the start of the browser.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Run the browser and return its exit code."""
    read, write, profile, *command = arguments
    os.dup2(int(read), 3)
    os.dup2(int(write), 4)
    os.closerange(5, 256)
    try:
        browser = subprocess.Popen(command, pass_fds=(3, 4))
        os.closerange(3, 5)
        return browser.wait()
    finally:
        for _ in range(20):  # a killed browser leaves processes that still write for a moment
            shutil.rmtree(profile, ignore_errors=True)
            if not os.path.exists(profile):
                break
            time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

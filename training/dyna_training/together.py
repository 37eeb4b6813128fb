"""One command as several processes of this machine that train together, started by torch's launcher."""

from __future__ import annotations

import atexit
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dyna_graph import cli
from dyna_graph.errors import DynaError
from dyna_training.child import GRACE


def run_together(words: Sequence[str], processes: int) -> int:
    """Run a command of ``dyna`` as several processes, one for each GPU, or for a share of the threads.

    Ctrl-C and SIGTERM reach all of them, and each gets the time to keep what it has. When one fails, or this process
    is killed, the others end within `GRACE` seconds.

    Args:
        words: What stands after ``dyna``.
        processes: How many.

    Returns:
        The exit code: of the first process that failed, as a shell tells it; that of an interruption; or 0.

    Raises:
        DynaError: There are not so many GPUs, or cores where there is no GPU.
    """
    import torch
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    gpus, cores = torch.cuda.device_count(), len(os.sched_getaffinity(0))
    if processes > (gpus or cores):
        has = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else f"{cores} core{'s' * (cores > 1)} and no GPU"
        raise DynaError(f"{processes} processes cannot train together here: there is {has}")
    if not gpus:
        os.environ["ACCELERATE_USE_CPU"] = "true"
        threads = int(os.environ.get("OMP_NUM_THREADS", cores))
        os.environ["OMP_NUM_THREADS"] = str(max(1, threads // processes))
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", f"{GRACE:.0f}")
    # A terminal that is closed must end nobody whom `nohup` protects.
    os.environ.setdefault("PET_SIGNALS_TO_HANDLE", "SIGTERM,SIGINT")
    for name in [n for n in logging.root.manager.loggerDict if n.startswith("torch.distributed.elastic")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # of what ends it, the processes themselves tell
    launch = ("--standalone", f"--nproc-per-node={processes}", "-m", "dyna_training.child", *words)
    try:
        with _watched_for():
            main(list(launch))
    except SignalException:
        return cli.INTERRUPTED
    except ChildFailedError as failed:
        code: int = failed.get_first_failure()[1].exitcode
        return code if code >= 0 else 128 - code
    return 0


def run_one() -> None:
    """Run ``dyna`` as the last thing that a process does; one of several that train together leaves at once then.

    Threads of gloo let go of the last tensors when they come to it, and need the interpreter's lock for that. Up to
    Python 3.13, one that asks for the lock while the interpreter is taken down aborts the process, and a training that
    is whole would end as a failure. So with such threads the interpreter is not taken down: threads are waited for and
    exit handlers called as always, then the process ends. A file that nobody has closed is not flushed.
    """
    code = 1

    def leave() -> None:
        if "WORLD_SIZE" in os.environ:
            logging.shutdown()
            for stream in (sys.stdout, sys.stderr):
                # Where this fails, the interpreter goes on, says so, and ends with 120.
                print(end="", file=stream, flush=True)
            os._exit(code)

    atexit.register(leave)  # what is registered later is called before it
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise


@contextmanager
def _watched_for() -> Iterator[None]:
    """Give processes that are started here a standard input that ends with this process."""
    try:
        before = os.dup(0)
    except OSError:  # it was closed
        before = os.open(os.devnull, os.O_RDONLY)
    ours, held = os.pipe()
    os.dup2(ours, 0)
    if ours:
        os.close(ours)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(held)

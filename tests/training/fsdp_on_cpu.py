"""`dyna train` under FSDP in processes without a GPU, for tests; run as a script.

accelerate sets FSDP up for processes on GPUs only; those on CPUs it lets train as if nobody had asked for it. FSDP
itself works on CPUs, so here accelerate is told that these processes are of the other kind.
"""

from __future__ import annotations

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType

from dyna_training.cli.train import main


def backend(*_: object, **__: object) -> tuple[str, DistributedType]:
    return "gloo", DistributedType.MULTI_GPU


def on_the_cpu(state: PartialState) -> None:
    state.device = torch.device("cpu")


if __name__ == "__main__":
    torch.distributed.init_process_group("gloo")
    PartialState._prepare_backend = backend
    PartialState.set_device = on_the_cpu
    main()

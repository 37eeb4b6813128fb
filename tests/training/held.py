"""`dyna train` that waits for a signal after an update, for tests that send it one; run as a script.

``HELD_AT`` is the number of the update, ``HELD`` a file that appears when the run waits.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from dyna_training.cli.train import main
from dyna_training.recipes.common import StopOnSignal

go_on = StopOnSignal.on_step_end


def wait(self: StopOnSignal, args: Any, state: Any, control: Any, **more: Any) -> Any:
    if state.global_step == int(os.environ["HELD_AT"]):
        Path(os.environ["HELD"]).touch()
        while not self.stopped:
            time.sleep(0.01)
    return go_on(self, args, state, control, **more)


if __name__ == "__main__":
    StopOnSignal.on_step_end = wait  # type: ignore[method-assign]
    main()

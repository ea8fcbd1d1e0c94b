"""A process that has imported what `ptools train` imports, and forks a real ptools per line it is told.

Twenty trainings that are killed would import torch twenty times: 4 s each. `python -m tests.nursery`
answers each line of arguments with the process id, and then with its wait status.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module

WARM = (
    "ignite.engine",
    "ptools.training.session",
    "ptools_plugins.train",
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.summary.writer.record_writer",
)


def main() -> None:
    import torch

    from ptools.cli import main as run

    for name in WARM:
        import_module(name)
    torch.set_num_threads(1)  # threads do not survive a fork
    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)  # imports torch._dynamo
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os._exit(run(json.loads(line)))
        print(process, flush=True)
        print(os.waitpid(process, 0)[1], flush=True)


if __name__ == "__main__":
    main()

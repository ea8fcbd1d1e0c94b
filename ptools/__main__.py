"""python -m ptools, and the console script: Ctrl-C is 130 even while click is being imported."""

import os
import signal
import sys


def run() -> int:
    """Run ptools and return its exit code."""
    try:
        from ptools.cli import main

        code = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: let Python end in peace
        if (
            "torch.distributed.distributed_c10d" in sys.modules
            and "TORCHELASTIC_RUN_ID" in os.environ
        ):
            _leave(code)
        return code
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130


def _leave(code: int) -> None:
    """End a process of torchrun: threads of its backend may still stand when Python takes them down.

    That ends in "terminate called without an active exception", and torchrun calls the training failed.
    """
    import atexit

    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.exit(run())

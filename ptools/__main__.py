"""python -m ptools, and the console script: Ctrl-C is 130 even while click is being imported."""

import signal
import sys


def run() -> int:
    """Run ptools and return its exit code."""
    try:
        from ptools.cli import main

        code = main()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said: let Python end in peace
        return code
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130


if __name__ == "__main__":
    sys.exit(run())

"""python -m ptools, and the console script: Ctrl-C is 130 even while click is being imported."""

import sys


def run() -> int:
    """Run ptools and return its exit code."""
    try:
        from ptools.cli import main

        return main()
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        return 130


if __name__ == "__main__":
    sys.exit(run())

"""python -m ptools."""

import sys

from ptools.cli import main

if __name__ == "__main__":
    sys.exit(main())

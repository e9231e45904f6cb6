"""``python -m hundredfold``: the command line."""

import sys

from hundredfold.cli import main

if __name__ == "__main__":
    sys.exit(main())

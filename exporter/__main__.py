"""`python -m exporter` is the same as the command `qsticky`."""

import sys

from exporter.cli import main

if __name__ == "__main__":
    sys.exit(main())

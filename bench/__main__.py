"""`python -m bench`: how fast and how small qSticky is, and how that compares.

Everything is measured from outside, on the daemon as a process: with `--against REVISION` the same
in the same run on a git worktree of that revision. Nothing here decides whether tests pass.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from bench import measures, report
from bench.trees import trees


def main() -> int:
    """Measure, print a table, write JSON; with --docs the page as well."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--against", metavar="REVISION", help="measure a revision of git as well")
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md as well")
    parser.add_argument("--only", metavar="WORD", default="", help="measures whose name has it")
    options = parser.parse_args()
    figures = []
    with (
        tempfile.TemporaryDirectory(prefix="qsticky-bench-") as folder,
        trees(Path(folder), options.against) as measured,
    ):
        names = [tree.name for tree in measured]
        for measure in measures.ALL:
            if options.only in measure.__name__:
                print((measure.__doc__ or "").splitlines()[0], file=sys.stderr, flush=True)
                figures += measure(measured)
    print(report.table(figures, names))
    report.write_json(figures)
    if options.docs:
        report.write_page(figures, names)
    return 0


if __name__ == "__main__":
    sys.exit(main())

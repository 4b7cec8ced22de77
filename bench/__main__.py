"""`python -m bench`: measures everything, in less than three minutes where nobody disturbs.

Figures are compared with others of the same run: ratios say something on any machine, times on this
one only. Nothing here decides whether tests pass.
"""

from __future__ import annotations

import argparse
import sys
from types import ModuleType

from bench import growth, reaction, report, start, steady
from bench.figures import Figure
from bench.processes import Workplace


def main() -> int:
    """Measure, print a table, write JSON; with --docs the page as well."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--docs", action="store_true", help="write docs/performance.md as well")
    options = parser.parse_args()
    figures: list[Figure] = []
    with Workplace() as place:
        for part in (start, steady, reaction):
            _say_what(part)
            figures += part.measure(place)
        _say_what(growth)
        more, sizes = growth.measure(place)
    figures += more
    print(report.table(figures))
    report.write_json(figures, sizes)
    if options.docs:
        report.write_page(figures, sizes)
    return 0


def _say_what(part: ModuleType) -> None:
    print((part.__doc__ or "").splitlines()[0], file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

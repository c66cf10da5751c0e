"""``python -m dtms.bench [--json] [--only NAME]…``."""

import argparse
import sys

from dtms.bench.suite import BENCHES, run


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m dtms.bench")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", action="append", choices=list(BENCHES), default=[], help="may be repeated")
    given = parser.parse_args()
    return run(given.json, given.only)


if __name__ == "__main__":
    sys.exit(main())

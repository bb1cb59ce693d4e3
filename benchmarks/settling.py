"""Random schedules of settling, thousands of them: which ends were told twice or never, and what was lost.

    python benchmarks/settling.py                      # 2,000 schedules: three minutes
    python benchmarks/settling.py --from 5000 --count 500
    python benchmarks/settling.py --seed 17            # one again, with all that happened

Real sessions on the real ledger, in virtual time; the schedules and what must hold of them are those of
``tests/session/test_settling_properties.py``. Each line names the seed of what does not hold. The same with
real processes, a real PostgreSQL and a load balancer: ``benchmarks/processes.py news``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "session"))

from settling_checks import trial


def main() -> None:
    parser = argparse.ArgumentParser(description="Random schedules of settling.")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    if options.seed is not None:
        logging.basicConfig(format="          %(message)s")
        sys.exit("\n".join(trial(options.seed, print).broken) or None)
    logging.disable(logging.CRITICAL)
    sums: Counter[str] = Counter()
    failed = 0
    for seed in range(options.first, options.first + options.count):
        found = trial(seed)
        sums.update(found.counts)
        failed += bool(found.broken)
        for text in found.broken:
            print(f"seed {seed}: {text}", flush=True)
    print(f"{options.count} schedules: " + ", ".join(f"{count} {name}" for name, count in sums.items()))
    sys.exit(f"{failed} schedules do not hold" if failed else None)


if __name__ == "__main__":
    main()

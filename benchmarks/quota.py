"""How close a batch comes to what the quota allows, beside how it is done today. In virtual time.

python benchmarks/quota.py                  # everything: some minutes
python benchmarks/quota.py --seeds 2 --only webhooks
python benchmarks/quota.py --seeds 1 --only "1,000 edits of 20"     # small: seconds
python benchmarks/quota.py --only lost          # looks whose delivery is lost
python benchmarks/quota.py --only few           # few looks and an idle quota, with webhooks
python benchmarks/quota.py --chart benchmarks   # also draws quota.svg and quota_dark.svg there
python benchmarks/quota.py --only "1,000 edits of 20" --chart benchmarks     # the chart in two minutes
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from _lost import CASES, FEW, Found, run_few, run_lost
from _peers import Backoff, FixedInterval
from _shared import progress, table
from _worlds import Client, Lone, Looks, Result, Scenario, lone, ours, run

MAIN = Scenario("1,000 edits of 20 avatars")
OURS = [
    MAIN,
    MAIN._replace(name="… with webhooks", webhooks=True),
    MAIN._replace(name="… with webhooks, 10 % lost", webhooks=True, lost=0.1),
    Scenario("1,000 edits of 1,000 avatars", avatars=1_000),
    Scenario("… median 15 s", median=15.0),
    Scenario("… median 60 s", median=60.0),
    Scenario("… median 120 s", median=120.0),
    Scenario("10,000 edits of 200 avatars, scene by scene", edits=10_000, avatars=200),
    Scenario("1,000 edits of 1 avatar", avatars=1),
    MAIN._replace(name="… another client takes 40 %", others=0.4),
    MAIN._replace(name="… bimodal: 20 s or 90 s", looks=Looks.BIMODAL),
    MAIN._replace(name="… slower beside others", looks=Looks.LOADED),
    MAIN._replace(name="… 1 % stuck for 10 minutes", looks=Looks.STUCK),
    Scenario("6,000 edits of 20 avatars, drifting", edits=6_000, looks=Looks.DRIFTING),
]
PEERS: dict[str, Client] = {
    "semaphore of 50, every 10 s": FixedInterval(10.0),
    "semaphore of 50, every 5 s": FixedInterval(5.0),
    "semaphore of 50, 1 s doubled to 60 s": Backoff(),
}
HEADER = ("", "makespan / bound", "worst seed", "requests a look", "status a look", "mean lag s", "p95 lag s",
          "most in 60 s", "429")  # fmt: skip
LONE = (0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 30.0)


def main() -> None:
    """Run what was asked for and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="runs of each scenario (5)")
    parser.add_argument("--only", default="", help="only scenarios and peers whose name holds this")
    parser.add_argument(
        "--chart", type=Path, help="draw quota.svg and quota_dark.svg in this folder, of our median seed"
    )
    options = parser.parse_args()
    runs = [(s.name, s, ours) for s in OURS] + [(name, MAIN, peer) for name, peer in PEERS.items()]
    drawn = [MAIN.name, next(iter(PEERS))] if options.chart else []
    runs = [entry for entry in runs if options.only in entry[0] or entry[0] in drawn]
    results = _run_all(runs, options.seeds)
    ours_rows = [_row(s.name, results[s.name]) for s in OURS if s.name in results]
    peer_rows = [_row(name, results[name]) for name in PEERS if name in results]
    if ours_rows:
        print(table("This library", HEADER, ours_rows, NOTES))
    if options.only in ("", "lost"):
        print(_lost_table(options.seeds))
    if options.only in ("", "few"):
        print(_few_table(options.seeds))
    if peer_rows:
        print(table(f"As it is done today: {MAIN.name}, no webhooks", HEADER, peer_rows))
    if not options.only:
        print(_lone_table([lone(seconds) for seconds in LONE]))
    if options.chart:
        from _chart import draw

        seeds = sorted(range(options.seeds), key=lambda seed: results[MAIN.name][seed].ratio)
        draw(options.chart, *(results[name][seeds[len(seeds) // 2]] for name in drawn))


NOTES = (
    "bound: submissions sent evenly at 100 a minute, the last look done; with another client, at what it",
    "leaves. lag: from a look's being done to its being known. Means over the seeds. Stuck looks are not",
    "counted for the makespan and its bound, but for the lag.",
)


def _run_all(runs: list[tuple[str, Scenario, Client]], seeds: int) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {}
    with ProcessPoolExecutor() as pool:
        jobs = [
            (name, pool.submit(run, scenario, client, seed + 1))
            for name, scenario, client in runs
            for seed in range(seeds)
        ]
        for done, (name, job) in enumerate(jobs):
            progress(f"{done + 1} of {len(jobs)}: {name}")
            results.setdefault(name, []).append(job.result())
    progress("")
    return results


def _row(name: str, results: list[Result]) -> tuple[object, ...]:
    def mean(values: Iterable[float]) -> float:
        return statistics.fmean(values)

    return (
        name,
        f"{mean(r.ratio for r in results):.3f} x",
        f"{max(r.ratio for r in results):.3f} x",
        f"{mean(r.requests for r in results):.3f}",
        f"{mean(r.requests for r in results) - 1:.3f}",
        f"{mean(r.lag for r in results):.1f}",
        f"{mean(r.p95 for r in results):.1f}",
        max(r.most for r in results),
        f"{100 * mean(r.refused for r in results):.1f} %",
    )


def _lost_table(seeds: int) -> str:
    """Lost webhook deliveries: how late their looks are known, and what finding them costs."""
    rows: list[tuple[object, ...]] = []
    with ProcessPoolExecutor() as pool:
        for case in CASES:
            progress(case.name)
            found: list[Found] = list(pool.map(run_lost, [case] * seeds, range(1, seeds + 1)))
            late = [each for each in found if each.lost]
            rows.append(
                (
                    case.name,
                    f"{max(each.took for each in found):.1f}",
                    f"{statistics.fmean(each.took / each.bound for each in found):.3f} x",
                    f"{statistics.fmean(each.status for each in found):.3f}",
                    f"{statistics.fmean(each.mean_lag for each in late):.1f}" if late else "-",
                    f"{100 * statistics.fmean(each.within_15 for each in late):.0f} %" if late else "-",
                )
            )
    progress("")
    header = ("", "longest s", "makespan / bound", "status a look", "lag of lost s", "lost known in 15 s")
    return table("Lost webhook deliveries", header, rows)


def _few_table(seeds: int) -> str:
    """Few looks with webhooks on an idle quota: how late they are known, and what that costs."""
    rows: list[tuple[object, ...]] = []
    with ProcessPoolExecutor() as pool:
        for case in FEW:
            progress(case.name)
            found = list(pool.map(run_few, [case] * seeds, range(1, seeds + 1)))
            lags = sorted(lag for each in found for lag in each.lags)
            status = statistics.fmean(each.status for each in found)
            within_20 = sum(lag <= 20.0 for lag in lags) / len(lags)
            rows.append(
                (
                    case.name,
                    f"{statistics.fmean(lags):.1f}",
                    f"{lags[-1]:.1f}",
                    f"{100 * within_20:.0f} %",
                    f"{status:.2f}",
                )
            )
    progress("")
    header = ("", "mean lag s", "longest", "known in 20 s", "status a look")
    return table("Few looks with webhooks, idle quota, from the fourth of a kind on", header, rows)


def _lone_table(found: list[Lone]) -> str:
    rows: list[tuple[object, ...]] = [(f"{f.seconds:g} s", f"{f.lag:.2f}", f.requests) for f in found]
    rows.append(
        (
            "mean",
            f"{statistics.fmean(f.lag for f in found):.2f}",
            f"{statistics.fmean(f.requests for f in found):.1f}",
        )
    )
    return table(
        "One look alone, idle quota, nothing learned yet", ("it takes", "lag s", "status requests"), rows
    )


if __name__ == "__main__":
    main()

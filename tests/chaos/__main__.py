"""Lives through seeds of the chaos run, and says which failed and what happened in all of them.

As in ``python -m tests.chaos --seeds 0-999 --jobs 2``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.chaos.scenario import live
from tests.chaos.syncs import KINDS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", default="0-49", help="one, or the first and the last: 0-999")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--kind", choices=KINDS, help="this kind of sync only; else the seed decides")
    parser.add_argument("--tell", action="store_true", help="tell what happened in each seed")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    began, counts, failed = time.monotonic(), Counter[str](), 0
    with ProcessPoolExecutor(arguments.jobs, multiprocessing.get_context("spawn")) as pool:
        for living in as_completed([pool.submit(live, seed, arguments.kind) for seed in seeds]):
            story, fault = living.result()
            counts += story.counts
            failed += bool(fault)
            if fault:
                kind = f" --kind {arguments.kind}" if arguments.kind else ""
                again = f"python -m tests.chaos --seeds {story.seed} --tell{kind}"
                print(f"seed {story.seed} ({story.title}): {fault}\n    {again}", flush=True)
            if arguments.tell:
                print("\n".join(story.lines), flush=True)
    print(f"\n{len(seeds)} seeds, {failed} failed, {time.monotonic() - began:.0f} s")
    for name, count in sorted(counts.items()):
        print(f"{count:9,} {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""How many of many random nets a batch trains as their own fit does, and why it refuses the others.

python tests/benchmarks/random_nets.py --n 2000
"""

import argparse
import re
import time
import warnings
from collections import Counter

import torch
from _random_nets import outcome


def main(arguments: list[str] | None = None) -> Counter[str]:
    """Print the counts and the seeds that are wrong; return the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000, help="nets")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    given = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    began = time.process_time()
    for seed in range(given.first, given.first + given.n):
        try:
            told = outcome(seed)
        except Exception as error:  # what this looks for
            print(f"WRONG, seed {seed}: {type(error).__name__}: {error}")
            told = "WRONG"
        counts[re.sub(r"'[^']*'|\d[\d.e+-]*", "...", told)] += 1
    print(f"{given.n} random nets in {time.process_time() - began:.0f} s of processor time:")
    for told, n in counts.most_common():
        print(f"{n:6}  {told}")
    return counts


if __name__ == "__main__":
    raise SystemExit(bool(main()["WRONG"]))

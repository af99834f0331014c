"""How often a nominal 95 % interval holds the truth, and how often equal methods are told apart.

    python benchmarks/coverage.py [--runs 1000] [--questions 350] [--samples 5]

Each question has a rate of its own, drawn from Beta(p k, (1 - p) k) with k = 1 / r - 1, so that the
responses to one question correlate at r. For each true rate p the table gives the coverage of the
suite's interval (BCa over questions), of one that takes responses for independent (Wilson), and
of NSI; and the share of runs in which the sign-flip test at 5 % tells two equal methods apart.
Coverage of 1,000 runs is itself known to 1.4 points.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from scipy.stats import binomtest

from greaves.leaderboards.estimate.paired import sign_flip_p
from greaves.leaderboards.estimate.statistics import Estimate, nsi, rate

RATES = (0.30, 0.10, 0.02, 0.005)
HEAD = ("ASR", "correlation", "BCa by question", "Wilson by response", "NSI", "told apart at 5 %")


def table(runs: int, questions: int, samples: int, seed: int) -> Iterator[tuple[str, ...]]:
    """One line a true rate and correlation."""
    for truth in RATES:
        for correlation in (0.2, 0.5):
            found = simulate(truth, correlation, runs, questions, samples, seed)
            yield (f"{truth:.3f}", f"{correlation:.1f}", *(f"{100 * one:.1f}" for one in found))


def simulate(
    truth: float, correlation: float, runs: int, questions: int, samples: int, seed: int
) -> tuple[float, float, float, float]:
    """Shares of runs: BCa covers, Wilson covers, NSI covers, equal methods are told apart."""
    draw, spread = np.random.default_rng(seed), 1.0 / correlation - 1.0
    covered = np.zeros(4)
    for _ in range(runs):
        hard, benign = (
            draw.beta(truth * spread, (1 - truth) * spread, size=questions) for _ in range(2)
        )
        vanilla, same = draw.binomial(samples, hard), draw.binomial(samples, hard)
        method = draw.binomial(samples, hard / 2)  # halves every question's rate
        refused, refused_more = draw.binomial(samples, benign), draw.binomial(samples, benign)
        wilson = binomtest(int(vanilla.sum()), samples * questions).proportion_ci(method="wilson")
        net = nsi((vanilla - method) / samples, (refused_more - refused) / samples)
        (p,) = sign_flip_p(((vanilla - same) / (samples * questions))[None, :])
        covered += (
            _holds(rate(vanilla / samples), truth),
            wilson.low <= truth <= wilson.high,
            _holds(net, truth / 2),
            p < 0.05,
        )
    first, second, third, fourth = (float(one) for one in covered / runs)
    return first, second, third, fourth


def _holds(estimate: Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    for name, default in (("runs", 1000), ("questions", 350), ("samples", 5), ("seed", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    print("| " + " | ".join(HEAD) + " |")
    print("|" + " ---: |" * len(HEAD))
    for line in table(options.runs, options.questions, options.samples, options.seed):
        print("| " + " | ".join(line) + " |", flush=True)


if __name__ == "__main__":
    main()

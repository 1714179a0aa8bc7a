"""`python -m guard_mutants`: a line of input names a guard's example binary, a line of output answers.

`caught ID: fault` at the first record of the corpus that such a guard fails, or `passed N records`.
"""

import sys

from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import corpus
from guard_corpus.runner import Runner
from guard_oracle.guard_process import postgres_guard

from guard_mutants.target import GuardTarget, RememberedOracle

# What these need is the engine's and the server's to give: time limits, and sessions of several statements.
LEFT_OUT = frozenset({"resource", "timing"})


def main() -> None:
    records = [record for record in corpus("postgresql") if record.group not in LEFT_OUT]
    with PostgresWorld() as world:
        oracle = RememberedOracle(world)
        for line in sys.stdin:
            guard = postgres_guard(world, binary=line.strip())
            oracle.target = GuardTarget(world, guard)
            runner = Runner(oracle, oracle.target)
            answer = f"passed {len(records)} records"
            for record in records:
                verdict = runner.check(record)
                if not verdict.passed:
                    answer = f"caught {record.id}: {one_line(verdict.faults[0])}"
                    # Breaks of one kind come together, and what found one may find the next at once.
                    records.remove(record)
                    records.insert(0, record)
                    break
            guard.close()
            print(answer, flush=True)


def one_line(fault: str) -> str:
    """Short enough for a table, without what would break one."""
    words = " ".join(fault.replace("|", "/").split())
    return words if len(words) <= 100 else words[:99] + "\u2026"


if __name__ == "__main__":
    main()

"""`python -m guard_corpus`: the corpus against Ringfence, or against databases alone."""

import argparse
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from guard_corpus import report
from guard_corpus.dialects import AGAINST, open_runner
from guard_corpus.records import corpus
from guard_corpus.runner import Verdict


def main() -> int:
    arguments = parse()
    chosen = [
        record
        for record in corpus(arguments.dialect)
        if (not arguments.k or any(part in record.id for part in arguments.k))
        and (arguments.only is None or record.expectation == arguments.only)
        and not any(part in record.id for part in arguments.without)
        # Nothing puts the databases of views back.
        and not (arguments.against == "views" and record.writes)
    ]
    assert chosen, "no record has such an id"
    verdicts: list[Verdict] = []
    with ExitStack() as stack:
        runner = stack.enter_context(open_runner(arguments.dialect, arguments.against, arguments.seconds))
        broken = runner.oracle.check_pairs()
        assert not broken, f"the databases of the oracle are wrong: {broken}"
        started = time.monotonic()
        for record in chosen:
            verdicts.append(runner.check(record))
            if arguments.verbose:
                print(f"{time.monotonic() - started:6.1f} {record.id} {verdicts[-1].faults}", flush=True)
    print(report.faults(verdicts, arguments.show))
    print(report.table(verdicts))
    if arguments.report:
        report.write(arguments.report, verdicts)
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="guard_corpus", description=__doc__)
    parser.add_argument("--dialect", choices=["postgresql", "sqlite", "mysql"], default="postgresql")
    parser.add_argument("--against", choices=AGAINST, default="guarded", help=str(AGAINST))
    parser.add_argument("-k", action="append", default=[], help="only ids that hold one of these")
    parser.add_argument("--without", action="append", default=[], help="no ids that hold this")
    parser.add_argument("--only", choices=["refuse", "isolated", "no_marker", "benign"])
    parser.add_argument("--report", type=Path, help="where the JSON report goes")
    parser.add_argument("--show", type=int, default=40, help="how many failures to show in words")
    parser.add_argument("--seconds", type=float, default=30.0, help="the time limit of a statement")
    parser.add_argument("-v", "--verbose", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

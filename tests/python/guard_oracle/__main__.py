"""Runs the oracle: `python -m guard_oracle --seed N --statements M --minutes K`."""

import argparse
import multiprocessing
import sys
import time
from pathlib import Path

from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import PRINCIPALS

from guard_oracle.guard_process import FAULTS
from guard_oracle.report import Report, described, table
from guard_oracle.schema import Schema, read_schema
from guard_oracle.worker import Orders, work


def main() -> int:
    parser = argparse.ArgumentParser(prog="guard_oracle", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--statements", type=int, default=20_000, help="of each worker")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1, choices=[1, 2])
    parser.add_argument("--writes", type=float, default=0.2, help="their share")
    parser.add_argument("--only", type=int, help="the statement of this number alone")
    parser.add_argument("--findings", type=Path, help="where divergences are written to as they are found")
    parser.add_argument("--quick", action="store_true", help="do not make divergences smaller")
    parser.add_argument(
        "--fault", choices=[*FAULTS], help="spoil the guarded text: the oracle has to find it"
    )
    arguments = parser.parse_args()
    with PostgresWorld() as world:
        schemas = {principal: read_schema(world, principal) for principal in PRINCIPALS}
        until = time.monotonic() + arguments.minutes * 60
        orders = [
            Orders(
                seed=arguments.seed + place,
                statements=arguments.statements,
                until=until,
                writes=arguments.writes,
                only=arguments.only,
                findings=arguments.findings,
                shrinks=not arguments.quick,
                fault=arguments.fault,
            )
            for place in range(arguments.workers)
        ]
        started = time.monotonic()
        alone = len(orders) == 1
        reports = [work(world, schemas, orders[0])] if alone else run_all(world, schemas, orders)
        report = sum(reports[1:], reports[0])
        print(table(report, time.monotonic() - started))
        for finding in report.findings:
            print(described(finding))
    return 1 if report.divergences else 0


def run_all(world: PostgresWorld, schemas: dict[str, Schema], orders: list[Orders]) -> list[Report]:
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[Report] = context.Queue()

    def one(order: Orders) -> None:
        queue.put(work(world, schemas, order))

    processes = [context.Process(target=one, args=(order,)) for order in orders]
    for process in processes:
        process.start()
    reports = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    return reports


if __name__ == "__main__":
    sys.exit(main())

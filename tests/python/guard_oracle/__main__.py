"""Runs the oracle: `python -m guard_oracle --engine postgres --seed N --statements M --minutes K`."""

import argparse
import multiprocessing
import sys
import time
from dataclasses import replace
from pathlib import Path

from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import PRINCIPALS

from guard_oracle import plain_sides
from guard_oracle.guard_process import FAULTS
from guard_oracle.report import Report, described, table
from guard_oracle.schema import Schema, read_schema
from guard_oracle.worker import Orders, work, work_plain


def main() -> int:
    parser = argparse.ArgumentParser(prog="guard_oracle", description=__doc__)
    parser.add_argument("--engine", choices=["postgres", "sqlite", "mysql"], default="postgres")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--statements", type=int, default=20_000, help="of each worker")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=1, choices=[1, 2])
    parser.add_argument("--writes", type=float, default=0.2, help="their share")
    parser.add_argument("--only", type=int, help="the statement of this number alone")
    parser.add_argument("--findings", type=Path, help="where divergences are written to as they are found")
    parser.add_argument("--quick", action="store_true", help="do not make divergences smaller")
    faults = {"postgres": [*FAULTS], **{engine: [*known] for engine, known in plain_sides.FAULTS.items()}}
    parser.add_argument("--fault", help=f"spoil the guarded text: the oracle has to find it; one of {faults}")
    arguments = parser.parse_args()
    if arguments.fault is not None and arguments.fault not in faults[arguments.engine]:
        parser.error(f"{arguments.engine} has no fault {arguments.fault}: one of {faults[arguments.engine]}")
    started = time.monotonic()
    report = run(arguments)
    print(table(report, time.monotonic() - started))
    for finding in report.findings:
        print(described(finding))
    for statement in report.fatal:
        print(f"the database's server ended by itself: {statement}")
    return 1 if report.divergences else 0


def run(arguments: argparse.Namespace) -> Report:
    if arguments.engine != "postgres":
        return run_plain(arguments)
    with PostgresWorld() as world:
        schemas = {principal: read_schema(world, principal) for principal in PRINCIPALS}
        orders = [orders_of(arguments, place) for place in range(arguments.workers)]
        if len(orders) == 1:
            return work(world, schemas, orders[0])
        reports = run_all(world, schemas, orders)
        return sum(reports[1:], reports[0])


def run_plain(arguments: argparse.Namespace) -> Report:
    """Where the server ended, another one is asked on, with the next seed."""
    orders, report = orders_of(arguments, 0), Report()
    while True:
        with plain_sides.open_sides(arguments.engine) as sides:
            one = work_plain(sides, orders)
        report += one
        if not one.fatal:
            return report
        left = orders.statements - one.verdicts.total()
        orders = replace(orders, seed=orders.seed + 1, statements=left)


def orders_of(arguments: argparse.Namespace, place: int) -> Orders:
    """The orders of the worker at that place; its time begins now."""
    return Orders(
        seed=arguments.seed + place,
        statements=arguments.statements,
        until=time.monotonic() + arguments.minutes * 60,
        writes=arguments.writes,
        only=arguments.only,
        findings=arguments.findings,
        shrinks=not arguments.quick,
        fault=arguments.fault,
    )


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

"""One worker: draws, guards, runs, compares, and makes smaller what diverges."""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol

import pymysql
from guard_corpus.postgres_world import PostgresWorld
from guard_corpus.records import PRINCIPALS

from guard_oracle.drawn import Drawn
from guard_oracle.generator import Generator
from guard_oracle.guard_process import Guarded, GuardProcess, postgres_guard
from guard_oracle.judge import Judge, Judgement, Statement, Verdict
from guard_oracle.plain_generator import PlainGenerator
from guard_oracle.plain_judge import PlainJudge
from guard_oracle.plain_sides import FAULTS, Sides
from guard_oracle.report import Finding, Report, described
from guard_oracle.schema import Schema
from guard_oracle.shrink import shrink

BATCH = 48

# Reasons of refusals of which a small example is made.
REFUSALS_SHOWN = 40

# Findings of one kind that are made smaller; the rest is counted.
KEPT = 12

ACCEPTED = frozenset(set(Verdict) - {Verdict.REFUSED, Verdict.BROKEN, Verdict.INVALID, Verdict.CRASH})


@dataclass(frozen=True)
class Orders:
    """What a worker is to do."""

    seed: int
    statements: int
    until: float
    writes: float = 0.2
    only: int | None = None
    findings: Path | None = None
    shrinks: bool = True
    # Runs only what the fault changes, and counts only what it is to blame for.
    fault: str | None = None
    # Ends with the first divergence.
    first: bool = False


class Draws(Protocol):
    """Makes statements."""

    literals: dict[str, list[str]]

    def draw(self, number: int) -> Drawn: ...


class Judges(Protocol):
    """Runs the guarded statement and the original, and compares."""

    def judge(self, statement: Statement, guarded: Guarded) -> Judgement: ...

    def without_names(self, message: str) -> str: ...


def work(world: PostgresWorld, schemas: dict[str, Schema], orders: Orders) -> Report:
    """On PostgreSQL."""
    generator = Generator(schemas, orders.seed, share_of_writes=orders.writes)
    guard = postgres_guard(world, orders.fault)
    return Worker(generator, guard, Judge(world, PRINCIPALS), orders).run()


def work_plain(sides: Sides, orders: Orders) -> Report:
    """On SQLite or MySQL."""
    generator = PlainGenerator(sides.dialect, sides.schemas, orders.seed, writes=orders.writes)
    fault = FAULTS[sides.dialect][orders.fault] if orders.fault else None
    guard = GuardProcess(sides.catalog, sides.policy, kind=sides.dialect, fault=fault)
    return Worker(generator, guard, PlainJudge(sides), orders).run()


def judged(
    judge: Callable[[Statement, Guarded], Judgement], orders: Orders, statement: Statement, guarded: Guarded
) -> Judgement | None:
    """In a run with a fault nothing, where the fault changes nothing or is not to blame."""
    if orders.fault is None:
        return judge(statement, guarded)
    if guarded.unspoilt is None:
        return None
    judgement = judge(statement, guarded)
    if judgement.diverges and judge(statement, replace(guarded, sql=guarded.unspoilt)).diverges:
        return None
    return judgement


class Worker:
    """Holds the counts."""

    def __init__(self, generator: Draws, guard: GuardProcess, judge: Judges, orders: Orders) -> None:
        self.generator = generator
        self.guard = guard
        self.judge = judge
        self.orders = orders
        self.report = Report()
        self._shapes: set[str] = set()
        self._kinds: Counter[str] = Counter()

    def run(self) -> Report:
        numbers: Iterator[int] = iter(range(self.orders.statements))
        if self.orders.only is not None:
            numbers = iter([self.orders.only])
        while time.monotonic() < self.orders.until and (batch := [*islice(numbers, BATCH)]):
            drawn = [self.generator.draw(number) for number in batch]
            asked = [(d.statement.principal, d.statement.sql, d.statement.params) for d in drawn]
            for number, one, guarded in zip(batch, drawn, self.guard.guard_all(asked), strict=True):
                try:
                    judgement = judged(self.judge.judge, self.orders, one.statement, guarded)
                except pymysql.err.InterfaceError:
                    # MariaDB has statements that end it, without any guard.
                    self.report.fatal.append(one.statement.sql)
                    self.guard.close()
                    return self.report
                if judgement is None:
                    continue
                self._count(one, judgement)
                if judgement.diverges or judgement.verdict is Verdict.BROKEN:
                    self._keep(number, one, guarded, judgement)
                elif judgement.verdict is Verdict.REFUSED:
                    self._keep_refusal(one, guarded, judgement)
                if self.orders.first and judgement.diverges:
                    self.guard.close()
                    return self.report
        self.guard.close()
        return self.report

    def _count(self, drawn: Drawn, judgement: Judgement) -> None:
        report, verdict = self.report, judgement.verdict
        report.verdicts[verdict] += 1
        if verdict is Verdict.INVALID:
            reason = self.judge.without_names(judgement.detail)
            report.invalid[reason] += 1
            report.examples.setdefault(reason, drawn.statement.sql)
            return
        if verdict is Verdict.BOTH_ERR:
            return
        for feature in ("all", *drawn.features, "write" if drawn.statement.writes else "read"):
            report.asked[feature] += 1
            report.accepted[feature] += verdict in ACCEPTED
        if verdict is Verdict.REFUSED:
            report.refusals[reason_of(judgement)] += 1

    def _keep(self, number: int, drawn: Drawn, guarded: Guarded, judgement: Judgement) -> None:
        """Makes it smaller, and writes it down."""
        kind = judgement.verdict + re.sub(r"\"[^\"]*\"|'[^']*'|\d+|\(.*\)", "_", judgement.detail)[:40]
        self._kinds[kind] += 1
        if self._kinds[kind] > KEPT:
            return
        if self.orders.shrinks:
            guarded, judgement = self._shrink(drawn, guarded, judgement)
        said = drawn.statement
        finding = Finding(
            judgement.verdict,
            said.principal,
            self.orders.seed,
            number,
            said.sql,
            said.params,
            guarded.sql,
            guarded.params,
            judgement.detail,
        )
        if finding.shape() in self._shapes:
            return
        self._shapes.add(finding.shape())
        self.report.findings.append(finding)
        if self.orders.findings:
            with self.orders.findings.open("a") as file:
                file.write(described(finding) + "\n")

    def _keep_refusal(self, drawn: Drawn, guarded: Guarded, judgement: Judgement) -> None:
        """One example for each reason."""
        reason = reason_of(judgement)
        if reason in self.report.examples or len(self.report.examples) > REFUSALS_SHOWN:
            return
        if self.orders.shrinks:
            self._shrink(drawn, guarded, judgement, seconds=4.0)
        self.report.examples[reason] = drawn.statement.sql

    def _shrink(
        self, drawn: Drawn, guarded: Guarded, judgement: Judgement, *, seconds: float = 15.0
    ) -> tuple[Guarded, Judgement]:
        best = (drawn.statement, guarded, judgement)
        said = judgement.detail[:5] if judgement.verdict is Verdict.BROKEN else ""

        def holds() -> bool:
            nonlocal best
            statement = drawn.reprinted()
            made = self.guard.guard(statement.principal, statement.sql, statement.params)
            again = self.judge.judge(statement, made)
            same = again.verdict is judgement.verdict and again.detail.startswith(said)
            if judgement.verdict is Verdict.REFUSED:
                same = same and reason_of(again) == reason_of(judgement)
            if same:
                best = (statement, made, again)
            return same

        # First without the odd spelling: mostly it is not the cause.
        kept, drawn.spelling = drawn.spelling, None
        if not holds():
            drawn.spelling = kept
        shrink(drawn.tree, holds, seconds=seconds, literals=self.generator.literals)
        drawn.statement = best[0]
        return best[1], best[2]


def reason_of(judgement: Judgement) -> str:
    """A refusal without the names in it."""
    reason = re.sub(r" at Line: \d+, Column: \d+|\d+|\"[^\"]*\"", "_", judgement.detail)
    return re.sub(r"(found: |unexpected ).*", r"\1...", reason)

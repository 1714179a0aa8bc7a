"""Counts, and what was found."""

import re
from collections import Counter
from dataclasses import dataclass, field

from guard_oracle.judge import DIVERGENCES, Verdict


@dataclass
class Finding:
    """A statement with something wrong, made smaller."""

    verdict: Verdict
    principal: str
    seed: int
    number: int
    sql: str
    params: list[str | None]
    guarded: str
    guarded_params: list[str | None]
    detail: str

    def shape(self) -> str:
        """What findings of one cause have in common, roughly."""
        detail = re.sub(r"\"[^\"]*\"|'[^']*'|\d+", "_", self.detail)[:60]
        words = " ".join(re.findall(r"[A-Z]{3,}", self.sql))
        return f"{self.verdict}|{detail if self.verdict is Verdict.BROKEN else ''}|{words}"


@dataclass
class Report:
    """What one worker, or all, saw."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    invalid: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    # Statements that ended the server itself.
    fatal: list[str] = field(default_factory=list)

    def __add__(self, other: "Report") -> "Report":
        return Report(
            self.verdicts + other.verdicts,
            self.asked + other.asked,
            self.accepted + other.accepted,
            self.refusals + other.refusals,
            {**self.examples, **other.examples},
            self.invalid + other.invalid,
            [*self.findings, *other.findings],
            [*self.fatal, *other.fatal],
        )

    def share(self, feature: str) -> float:
        """How many of a hundred valid statements with a feature were accepted."""
        return 100 * self.accepted[feature] / self.asked[feature]

    @property
    def divergences(self) -> int:
        return sum(self.verdicts[verdict] for verdict in DIVERGENCES)


def table(report: Report, seconds: float) -> str:
    """The figures."""
    total = report.verdicts.total() or 1
    valid = report.asked["all"] or 1
    lines = [
        f"{total} statements in {seconds:.0f} s ({total / max(seconds, 0.1):.0f} a second)",
        f"valid for the oracle: {valid} ({100 * valid / total:.1f} %)",
        f"accepted of these: {report.accepted['all']} ({100 * report.accepted['all'] / valid:.1f} %)",
        "",
        *(f"{count:8} {verdict}" for verdict, count in report.verdicts.most_common()),
        "",
        "accepted of valid, by feature:",
        *(
            f"{report.accepted[name]:8} of {report.asked[name]:6} {report.share(name):6.1f} %  {name}"
            for name in sorted(report.asked, key=report.share)
        ),
        "",
        "refused, most often first:",
        *(
            f"{count:8} {reason}    e.g. {report.examples.get(reason, '')[:260]!r}"
            for reason, count in report.refusals.most_common(40)
        ),
        "",
        "invalid, most often first:",
        *(
            f"{count:8} {reason}    e.g. {report.examples.get(reason, '')[:200]!r}"
            for reason, count in report.invalid.most_common(25)
        ),
        "",
    ]
    return "\n".join(lines)


def described(finding: Finding) -> str:
    return "\n".join(
        [
            f"### {finding.verdict}: {finding.principal}, seed {finding.seed}, statement {finding.number}",
            f"asked:   {finding.sql}",
            *([f"params:  {finding.params}"] if finding.params else []),
            f"guarded: {finding.guarded}",
            *([f"params:  {finding.guarded_params}"] if finding.guarded_params else []),
            f"differs: {finding.detail}",
            "",
        ]
    )

"""What came of a run: a table for people and a file for programs."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from guard_corpus.compare import short
from guard_corpus.runner import Verdict

MOST_IDS = 12


def table(verdicts: Sequence[Verdict]) -> str:
    """For each class how many passed, and the ids of those that did not."""
    classes: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        kind = "benign" if verdict.record.expectation == "benign" else "attack"
        classes[f"{kind} {verdict.record.group}"].append(verdict)
    lines = [f"{'class':<26}{'pass':>6}{'fail':>6}  failed"]
    for name in sorted(classes):
        failed = [verdict.record.id for verdict in classes[name] if not verdict.passed]
        shown = ", ".join(failed[:MOST_IDS]) + (
            f" and {len(failed) - MOST_IDS} more" if failed[MOST_IDS:] else ""
        )
        lines.append(f"{name:<26}{len(classes[name]) - len(failed):>6}{len(failed):>6}  {shown}")
    failures = sum(not verdict.passed for verdict in verdicts)
    lines.append(f"{'all':<26}{len(verdicts) - failures:>6}{failures:>6}")
    return "\n".join(lines)


def faults(verdicts: Sequence[Verdict], most: int = 40) -> str:
    """The failures in words."""
    failed = [verdict for verdict in verdicts if not verdict.passed]
    lines = [
        f"{verdict.record.id}: {short(str(verdict.record.fields['sql']), 160)}\n    "
        + "\n    ".join(short(fault) for fault in verdict.faults)
        for verdict in failed[:most]
    ]
    if len(failed) > most:
        lines.append(f"... and {len(failed) - most} more")
    return "\n".join(lines)


def write(path: Path, verdicts: Sequence[Verdict]) -> None:
    """One JSON document with every record's outcome."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"records": [entry(verdict) for verdict in verdicts]}, indent=1) + "\n")


def entry(verdict: Verdict) -> dict[str, Any]:
    record, outcome = verdict.record, verdict.outcome
    return {
        "id": record.id,
        "class": record.group,
        "principal": record.principal,
        "expectation": record.expectation,
        "effective": record.fields.get("effective"),
        "passed": verdict.passed,
        "faults": verdict.faults,
        "accepted": outcome.accepted,
        "rows": len(outcome.rows),
        "code": outcome.code,
        "sqlstate": outcome.sqlstate,
        "message": short(outcome.message),
        "seconds": round(outcome.seconds, 3),
    }

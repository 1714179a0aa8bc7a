"""Document 001's Python library, calling SQLite in its own process. peer.py starts it.

Each line of input is a measurement, each line of output its figures, as JSON: so that it can be measured in
turn with others.
"""

import asyncio
import datetime
import decimal
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from ormai.adapters.sqlalchemy import SQLAlchemyAdapter  # type: ignore[import-not-found, unused-ignore]
from ormai.core.context import Principal, RunContext  # type: ignore[import-not-found, unused-ignore]
from ormai.utils.builder import PolicyBuilder  # type: ignore[import-not-found, unused-ignore]
from ormai.utils.defaults import DEFAULT_PROD  # type: ignore[import-not-found, unused-ignore]
from ormai.utils.factory import ToolsetFactory  # type: ignore[import-not-found, unused-ignore]
from sqlalchemy import create_engine  # type: ignore[import-not-found, unused-ignore]
from sqlalchemy.orm import (  # type: ignore[import-not-found, unused-ignore]
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
)

Call = tuple[str, dict[str, Any]]


class Base(DeclarativeBase):  # type: ignore[misc, unused-ignore]
    """What SQLAlchemy wants."""


class Order(Base):
    """The workload's table."""

    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    user_id: Mapped[int]
    status: Mapped[str]
    total: Mapped[decimal.Decimal]
    created_at: Mapped[datetime.datetime]
    note: Mapped[str | None]


class Library:
    """The toolset, as its quick start makes it, with writes allowed."""

    def __init__(self, file: str, tenant: str) -> None:
        self.engine = create_engine(f"sqlite:///{file}")
        policy = (
            PolicyBuilder(DEFAULT_PROD)
            .register_models([Order])
            .tenant_scope("tenant_id")
            .enable_writes(["Order"], require_reason=False)
            .build()
        )
        adapter = SQLAlchemyAdapter(engine=self.engine, models=[Order], policy=policy)
        schema = adapter.introspector.introspect()
        self.tools = ToolsetFactory(adapter, policy, schema).create(include_writes=True)
        self.tenant = tenant

    async def call(self, tool: str, wanted: dict[str, Any]) -> Any:
        """One call as an application makes it for a request: a session and a principal of its own."""
        with Session(self.engine) as session:
            principal = Principal(tenant_id=self.tenant, user_id="bench-user")
            result = await self.tools.execute(tool, wanted, RunContext(principal=principal, db=session))
            if tool == "db.create":
                # The library leaves that to its caller.
                session.commit()
        if not result.success:
            raise RuntimeError(f"{tool}: {result.error}")
        return result.data


def calls(kind: str, keys: int, tenants: int, tenant_number: int) -> Callable[[int], Call]:
    """The calls of a kind, by their number."""
    fields = ["id", "user_id", "status", "total", "created_at"]
    open_ones = [{"field": "status", "op": "eq", "value": "open"}]
    if kind == "query":
        latest = [{"field": "created_at", "direction": "desc"}, {"field": "id", "direction": "desc"}]
        query = {"model": "Order", "select": fields, "where": open_ones, "order_by": latest, "take": 20}
        return lambda _: ("db.query", query)
    if kind == "get":

        def get(number: int) -> Call:
            key = (number * 7919 % keys) * tenants + tenant_number
            return ("db.get", {"model": "Order", "id": key, "select": fields})

        return get
    if kind == "aggregate":
        total = {"model": "Order", "operation": "sum", "field": "total", "where": open_ones}
        return lambda _: ("db.aggregate", total)
    data = {
        "user_id": 1,
        "status": "open",
        "total": 12.5,
        "note": "new",
        "created_at": datetime.datetime.now(),
    }
    new = {"model": "Order", "data": data, "return_fields": ["id"]}
    return lambda _: ("db.create", new)


async def measure(library: Library, next_call: Callable[[int], Call], seconds: float) -> dict[str, float]:
    """Calls one after the other, for that long."""
    took: list[float] = []
    begun = time.perf_counter()
    sent = begun
    while sent - begun < seconds:
        await library.call(*next_call(len(took)))
        now = time.perf_counter()
        took.append(now - sent)
        sent = now
    whole = sent - begun
    took.sort()
    return {
        "per_second": len(took) / whole,
        "p50_us": took[len(took) // 2] * 1e6,
        "p99_us": took[len(took) * 99 // 100] * 1e6,
        "errors": 0,
    }


def main() -> None:
    """`ormai_calls.py FILE TENANT KEYS TENANTS TENANT_NUMBER`."""
    file, tenant, *numbers = sys.argv[1:]
    library = Library(file, tenant)
    for line in sys.stdin:
        wanted = json.loads(line)
        if "once" in wanted:
            answer = asyncio.run(library.call(*calls(wanted["once"], *map(int, numbers))(1)))
            print(json.dumps(answer.model_dump(), default=str), flush=True)
            continue
        figures = measure(library, calls(wanted["kind"], *map(int, numbers)), wanted["seconds"])
        print(json.dumps(asyncio.run(figures)), flush=True)


if __name__ == "__main__":
    main()

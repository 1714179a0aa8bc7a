"""Plans for models, endpoints and approvals, and what they answer."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Union
from urllib.parse import quote

from .conditions import Operand, Where, where_of
from .connection import Connection
from .exchange import Caller, Plan, Request, path, plain, waiting
from .frames import Tabular, html_table
from .values import family, moment

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

Data = Mapping[str, Any]


class Field(Operand):
    """A field of a model: compare it for conditions."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self.name = str(description["name"])
        self.type = str(description["type"])
        self.database_type = str(description["database_type"])
        self.masked = bool(description.get("masked", False))

    def wire_name(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"Field({self.name!r}: {self.type}{', masked' if self.masked else ''})"


class Page:
    """Rows of a model, as dictionaries, and where they go on."""

    def __init__(self, names: list[str], types: list[str], rows: list[dict[str, Any]], answer: Data) -> None:
        self.rows = rows
        self.has_more = bool(answer.get("has_more", False))
        self.next_cursor: str | None = answer.get("next_cursor")
        self.total_count: int | None = answer.get("total_count")
        self._names, self._types, self._wire = names, types, answer["rows"]

    def _tabular(self) -> Tabular:
        found = dict(zip(self._names, self._types))
        names = list(self._wire[0]) if self._wire else self._names
        return Tabular(
            names,
            [found.get(name, "") for name in names],
            [[row.get(name) for name in names] for row in self._wire],
        )

    def to_arrow(self) -> pa.Table:
        return self._tabular().to_arrow()

    def to_pandas(self) -> pandas.DataFrame:
        return self._tabular().to_pandas()

    def to_polars(self) -> polars.DataFrame:
        return self._tabular().to_polars()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"<Page: {len(self.rows)} rows{', more follow' if self.has_more else ''}>"

    def _repr_html_(self) -> str:
        names = list(self.rows[0]) if self.rows else self._names
        note = f"{len(self.rows)} rows" + (", more follow" if self.has_more else "")
        return html_table(names, [[row.get(name) for name in names] for row in self.rows], note)


class Change:
    """What came of a change."""

    def __init__(self, action: str, affected: int, rows: list[dict[str, Any]]) -> None:
        self.action, self.affected, self.rows = action, affected, rows

    @property
    def row(self) -> dict[str, Any]:
        """The one row that was changed, as it is now."""
        if len(self.rows) != 1:
            raise ValueError(f"{len(self.rows)} rows")
        return self.rows[0]

    def __repr__(self) -> str:
        return f"<Change: {self.action}, {self.affected} rows>"


class ModelBase:
    """A model as the caller sees it, and the plans of its operations."""

    def __init__(self, connection: Connection, description: Data, models: Mapping[str, ModelBase]) -> None:
        self.name = str(description["name"])
        self.description: str | None = description.get("description")
        self.fields = {field["name"]: Field(field) for field in description["fields"]}
        self.key = [str(name) for name in description["key"]]
        self.relations = {
            relation["name"]: (str(relation["model"]), bool(relation["many"]))
            for relation in description["relations"]
        }
        self.operations = [str(name) for name in description["operations"]]
        self.needs_approval = [str(name) for name in description.get("needs_approval", [])]
        self._connection = connection
        self._models = models

    def __getitem__(self, field: str) -> Field:
        try:
            return self.fields[field]
        except KeyError:
            raise KeyError(f"{self.name} has no field {field!r}: {', '.join(self.fields)}") from None

    def __repr__(self) -> str:
        return f"<Model {self.name}: {', '.join(self.fields)}>"

    def _repr_html_(self) -> str:
        rows = [
            [
                field.name,
                field.type,
                "key" if field.name in self.key else "",
                "masked" if field.masked else "",
            ]
            for field in self.fields.values()
        ]
        return html_table(
            ["field", "type", "", ""], rows, f"{self.name}: {', '.join(self.operations)}", headers=1
        )

    def _ask(self, operation: str, body: Data, *, change: bool) -> Plan[Any]:
        """Reads may be repeated; changes, too, because a key tells the server that they are the same."""
        address = yield from self._connection.path("models", self.name, operation)
        headers = {"Idempotency-Key": str(uuid.uuid4())} if change else {}
        sent = {name: value for name, value in body.items() if value is not None}
        reply = yield from self._connection.caller.ask(
            Request("POST", address, json=sent, headers=headers, repeatable=True)
        )
        waiting(reply)
        return reply.json()

    def query_plan(self, body: dict[str, Any], filters: Where, where: Where) -> Plan[Page]:
        answer = yield from self._ask("query", {**body, "where": one_of(filters, where)}, change=False)
        names = list(self.fields)
        types = [field.database_type for field in self.fields.values()]
        return Page(names, types, [self.row(row) for row in answer["rows"]], answer)

    def get_plan(self, key: Any, select: Sequence[str] | None) -> Plan[dict[str, Any]]:
        body = {"id": key, "select": listed(select)}
        return self.row((yield from self._ask("get", body, change=False)))

    def aggregate_plan(self, body: dict[str, Any], filters: Where, where: Where) -> Plan[Page]:
        answer = yield from self._ask("aggregate", {**body, "where": one_of(filters, where)}, change=False)
        types: dict[str, str] = {}
        for name in body.get("group_by") or []:
            if name in self.fields:
                types[name] = self.fields[name].database_type
        for figure in body["aggregates"]:
            types[figure_name(figure)] = self.figure_type(figure)
        rows = [
            {name: scalar(types.get(name, ""), value) for name, value in row.items()}
            for row in answer["rows"]
        ]
        return Page(list(types), list(types.values()), rows, answer)

    def change_plan(self, operation: str, body: Data) -> Plan[Change]:
        answer = yield from self._ask(operation, body, change=True)
        rows = [self.row(row) for row in answer.get("rows", [])]
        return Change(str(answer["action"]), int(answer["affected"]), rows)

    def row(self, row: Data) -> dict[str, Any]:
        """With Python's values, and rows of other models inside."""
        made: dict[str, Any] = {}
        for name, value in row.items():
            other = self._models.get(self.relations[name][0]) if name in self.relations else None
            if name in self.fields:
                made[name] = scalar(self.fields[name].database_type, value)
            elif other is not None and isinstance(value, list):
                made[name] = [other.row(one) for one in value]
            elif other is not None and isinstance(value, dict):
                made[name] = other.row(value)
            else:
                made[name] = value
        return made

    def figure_type(self, figure: Data) -> str:
        """What values a figure has."""
        if figure["op"] in ("count", "count_distinct"):
            return "int8"
        field = self.fields.get(str(figure.get("field")))
        kind = family(field.database_type) if field else "unknown"
        if figure["op"] in ("min", "max") and field:
            return field.database_type
        return {"float": "float8", "decimal": "numeric"}.get(kind, "numeric" if figure["op"] == "avg" else "")


def figure_name(figure: Data) -> str:
    if figure.get("as"):
        return str(figure["as"])
    return str(figure["op"]) if not figure.get("field") else f"{figure['op']}_{figure['field']}"


def one_of(filters: Where, where: Where) -> Any:
    """Document 001 says `filters`, the server `where`: the same thing."""
    if filters is not None and where is not None:
        raise TypeError("filters and where are the same: give one of them")
    return where_of(filters if filters is not None else where)


def listed(names: Sequence[str] | None) -> list[str] | None:
    if isinstance(names, str):
        raise TypeError("a list of names, not one text")
    return None if names is None else [str(getattr(name, "name", name)) for name in names]


Figure = Union[str, tuple[str, str]]


def figures(aggregates: Sequence[Data] | Mapping[str, Figure]) -> list[dict[str, Any]]:
    """`[{"op": "sum", "field": "total", "as": "revenue"}]`, or `{"revenue": ("sum", "total"), "orders":
    "count"}`."""
    if not isinstance(aggregates, Mapping):
        return [dict(figure) for figure in aggregates]
    made: list[dict[str, Any]] = []
    for name, figure in aggregates.items():
        if isinstance(figure, str):
            made.append({"op": figure, "as": name})
        else:
            op, field = figure
            made.append({"op": op, "field": str(getattr(field, "name", field)), "as": name})
    return made


def scalar(database_type: str, value: Any) -> Any:
    """One value in Python's type; as it came where it does not fit (masked ones do not)."""
    if value is None:
        return None
    kind = family(database_type)
    try:
        if kind == "float":
            return float(value)
        if kind == "decimal" and isinstance(value, (int, str, Decimal)) and not isinstance(value, bool):
            return Decimal(value)
        if kind in ("timestamp", "zoned") and isinstance(value, str):
            return moment(value)
        if kind == "date" and isinstance(value, str):
            return datetime.date.fromisoformat(value)
        if kind == "time" and isinstance(value, str):
            return datetime.time.fromisoformat(value)
        if kind == "bytes" and isinstance(value, str) and value.startswith("\\x"):
            return bytes.fromhex(value[2:])
    except (ValueError, ArithmeticError):
        pass
    return value


def models_plan(connection: Connection) -> Plan[list[dict[str, Any]]]:
    address = yield from connection.path("models")
    answer = yield from connection.caller.fetch(Request("GET", address, repeatable=True))
    items: list[dict[str, Any]] = answer["items"]
    return items


def transaction_plan(
    connection: Connection, operations: Sequence[Data], reason: str | None
) -> Plan[list[Change]]:
    """Several changes, all or none."""
    address = yield from connection.path("transactions")
    body: dict[str, Any] = {"operations": [dict(operation) for operation in operations]}
    if reason is not None:
        body["reason"] = reason
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    reply = yield from connection.caller.ask(
        Request("POST", address, json=body, headers=headers, repeatable=True)
    )
    waiting(reply)
    return [
        Change(str(one["action"]), int(one["affected"]), list(one.get("rows", [])))
        for one in reply.json()["results"]
    ]


class EndpointBase:
    """A published endpoint that the caller may call."""

    def __init__(self, caller: Caller, summary: Data, described: Data) -> None:
        self.name = str(summary["name"])
        self.method = str(summary["method"])
        self.path = str(summary["path"])
        self.description: str | None = summary.get("description")
        self.parameters = [str(name) for name in summary["parameters"]]
        operation = described.get("paths", {}).get(self.path, {}).get(self.method.lower(), {})
        self._places = {one["name"]: one["in"] for one in operation.get("parameters", [])}
        self._caller = caller

    def call_plan(self, values: Mapping[str, Any]) -> Plan[Any]:
        """Each value where the endpoint has it: in the path, the query or the body."""
        unknown = [name for name in values if name not in self.parameters]
        if unknown:
            raise TypeError(
                f"{self.name} has no parameter {unknown[0]!r}: {', '.join(self.parameters) or 'none'}"
            )
        address, query, body = self.path, [], {}
        for name, value in values.items():
            place = self._places.get(name, "body")
            if f"{{{name}}}" in address:
                address = address.replace(f"{{{name}}}", quote(written(value), safe=""))
            elif place == "query":
                if value is not None:
                    query.append((name, written(value)))
            else:
                body[name] = value
        if "{" in address:
            raise TypeError(f"{self.name} needs all that is in its path: {self.path}")
        reading = self.method == "GET"
        request = Request(
            self.method,
            address,
            tuple(query),
            json=None if reading else body,
            repeatable=reading,
        )
        answer = yield from self._caller.fetch(request)
        return answer

    def __repr__(self) -> str:
        return f"<Endpoint {self.name}: {self.method} {self.path}({', '.join(self.parameters)})>"


def written(value: Any) -> str:
    """A value in an address."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    return str(plain(value))


def endpoints_plan(caller: Caller) -> Plan[tuple[list[dict[str, Any]], dict[str, Any]]]:
    listed = yield from caller.fetch(Request("GET", path("endpoints"), repeatable=True))
    described = yield from caller.fetch(Request("GET", path("endpoints", "openapi"), repeatable=True))
    return listed["items"], described


def tickets_plan(caller: Caller, role: str, state: str | None) -> Plan[list[dict[str, Any]]]:
    """All pages of them, the newest first."""
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        query = [("as", role), ("limit", "200")]
        query += [("state", state)] if state else []
        query += [("after", after)] if after else []
        page = yield from caller.fetch(Request("GET", path("approvals"), tuple(query), repeatable=True))
        found += page["items"]
        after = page.get("next")
        if not after:
            return found


def ticket_plan(caller: Caller, ticket: str) -> Plan[dict[str, Any]]:
    answer: dict[str, Any] = yield from caller.fetch(
        Request("GET", path("approvals", ticket), repeatable=True)
    )
    return answer


def decide_plan(caller: Caller, ticket: str, decision: str, reason: str | None) -> Plan[dict[str, Any]]:
    body = None if decision == "withdraw" else ({} if reason is None else {"reason": reason})
    answer: dict[str, Any] = yield from caller.fetch(
        Request("POST", path("approvals", ticket, decision), json=body)
    )
    return answer

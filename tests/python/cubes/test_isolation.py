"""What callers see of cubes: what is hidden is not there, in the same words. And what a definition does."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from guard_http.places import GOVERNOR, Person
from polling import wait_for
from throwaway_postgres import Postgres

from cubes.market import Market, markets

POLICY = """
models:
  Sale:
    table: sales
    scoping: { tenant: principal.tenant_id }
    fields:
      cost: [ { roles: [accountant], action: allow } ]
      secret: deny
  Shop:
    table: shops
    fields:
      owner: [ { roles: [accountant], action: allow } ]
      card: { action: mask, mask_pattern: "****{last4}" }
  Region: { table: regions }
  Payroll: { table: payroll, roles: [accountant] }
restrictions:
  PARIS: [ { table: shops, column: city, in: [Paris] } ]
  FRANCE: [ { table: shops, column: country, in: [France] } ]
"""

CUBE: dict[str, Any] = {
    "table": "sales",
    "joins": [{"table": "shops", "on": {"shop": "id"}}],
    "hierarchies": {
        "Geography": [{"level": "Country", "column": "country"}, {"level": "City", "column": "city"}],
        "Owner": ["owner"],
        "Card": ["card"],
        "Secret": ["secret"],
        "Day": ["day"],
    },
    "measures": {
        "Amount": {"sum": "amount", "format": "0.00"},
        "Cost": {"sum": "cost"},
        "Margin": {"expression": '"Amount" - "Cost"'},
        "Margin share": {"share": "Margin", "of": "total"},
        "Secrets": {"count_distinct": "secret"},
    },
}

PEOPLE = [
    Person("ann", "acme"),
    Person("paris", "acme", data_roles=["PARIS"]),
    Person("france", "acme", data_roles=["FRANCE"]),
    Person("books", "acme", data_roles=["accountant"]),
    Person("bob", "globex"),
]

SHOPS = [
    [1, "Paris", "France", "o1", "4111-1111", 1],
    [2, "Lyon", "France", "o2", "4111-2222", 1],
    [3, "Rome", "Italy", "o1", "4111-1111", 2],
]

SALES = [
    [1, "acme", 1, "2026-01-01", 10, 1, "s1"],
    [2, "acme", 2, "2026-01-01", 20, 2, "s2"],
    [3, "acme", 3, "2026-01-02", 40, 3, "s3"],
    [4, "acme", 9, "2026-01-02", 80, 4, "s4"],
    [5, "globex", 1, "2026-01-02", 1000, 5, "s5"],
]


def tables(market: Market) -> None:
    """Sales of two tenants."""
    text = "VARCHAR(40)"
    market.table("regions", ["id INTEGER PRIMARY KEY", f"name {text}"], [[1, "west"], [2, "south"]])
    columns = [f"{name} {text}" for name in ("city", "country", "owner", "card")]
    market.table("shops", ["id INTEGER PRIMARY KEY", *columns, "region INTEGER"], SHOPS)
    columns = ["id INTEGER PRIMARY KEY", f"tenant {text}", "shop INTEGER", "day DATE"]
    columns += ["amount INTEGER", "cost INTEGER", f"secret {text}"]
    market.table("sales", columns, SALES)
    market.table("payroll", ["id INTEGER PRIMARY KEY", "pay INTEGER"], [[1, 5]])


@pytest.fixture(params=["sqlite", "postgresql", "lake"])
def market(request: pytest.FixtureRequest, postgres: Postgres) -> Iterator[Market]:
    server = postgres if request.param == "postgresql" else None
    with markets(request.param, server, *PEOPLE) as market:
        tables(market)
        market.connect(*(person.name for person in PEOPLE))
        market.policy(POLICY)
        market.define("sales", CUBE)
        market.define("payroll", {"table": "payroll"})
        yield market


def said(answer: Any, *names: str) -> dict[str, Any]:
    """A refusal without what differs in each: the trace, and the name that was asked for."""
    assert not answer.ok, answer.text
    body: dict[str, Any] = answer.json() | {"trace_id": ""}
    for name in names:
        body["detail"] = body["detail"].replace(f'"{name}"', "NAME")
    # What there is comes in the order of its likeness to the name.
    before, _, there_is = body["detail"].partition(": there is ")
    body["detail"] = [before, *sorted(there_is.split(", "))]
    return {"status": answer.status_code} | body


def test_hidden_and_missing_are_one(market: Market) -> None:
    def asked(person: str, **query: Any) -> Any:
        return market.ask(person, "sales", query)

    described = market.http("GET", market.path("sales"), "ann").json()
    assert [hierarchy["name"] for hierarchy in described["hierarchies"]] == ["Geography", "Card", "Day"]
    names = [measure["name"] for measure in described["measures"]]
    assert names == ["Amount", "contributors.COUNT"], "what is computed of something hidden is hidden, too"
    assert described["measures"][0]["format"] == "0.00"
    of_books = market.http("GET", market.path("sales"), "books").json()
    assert {"Cost", "Margin", "Margin share"} <= {measure["name"] for measure in of_books["measures"]}
    for hidden, like in [
        ("Cost", "Kost"),
        ("Margin", "Mergin"),
        ("Margin share", "Mergin share"),
        ("Secrets", "Sekrets"),
    ]:
        one = said(asked("ann", measures=[hidden]), hidden)
        assert one == said(asked("ann", measures=[like]), like)
        assert one["code"] == "FIELD_NOT_ALLOWED"
        by = said(asked("ann", measures=[], order=[{"by": hidden}]), hidden)
        assert by == said(asked("ann", measures=[], order=[{"by": like}]), like)
    for hidden, like in [("owner", "ouner"), ("secret", "sekret")]:
        assert said(asked("ann", levels=[hidden]), hidden) == said(asked("ann", levels=[like]), like)
        test = {"op": "eq", "value": "s1"}
        one = said(asked("ann", filter={"field": hidden, **test}), hidden)
        assert one == said(asked("ann", filter={"field": like, **test}), like)
    one = said(asked("ann", levels=[{"hierarchy": "Owner", "level": "owner"}]), "Owner")
    assert one == said(asked("ann", levels=[{"hierarchy": "Ouner", "level": "owner"}]), "Ouner")
    assert market.rows("books", "sales", "Cost", levels=["owner"]) == [["N/A", 4], ["o1", 4], ["o2", 2]]


def test_a_hidden_cube_is_a_missing_one(market: Market) -> None:
    def names(person: str) -> list[str]:
        return [cube["name"] for cube in market.http("GET", market.path(), person).json()["items"]]

    assert names("ann") == ["sales"]
    assert names("books") == ["payroll", "sales"]
    ways: list[tuple[str, list[str], Any]] = [("GET", [], None), ("POST", ["query"], {"measures": []})]
    for method, rest, body in ways:
        hidden = said(market.http(method, market.path("payroll", *rest), "ann", json=body), "payroll")
        missing = said(market.http(method, market.path("nothing", *rest), "ann", json=body), "nothing")
        assert hidden == missing
        assert hidden["code"] == "CUBE_NOT_ALLOWED"


def test_masks_are_members(market: Market) -> None:
    rows = market.rows("ann", "sales", "Amount", levels=["card"])
    assert [row[0] for row in rows] == ["****1111", "****2222", "N/A"]
    asked = {"field": "card", "op": "eq", "value": "4111-1111"}
    assert market.rows("ann", "sales", "Amount", levels=["card"], filter=asked) == []


def test_callers_never_share_an_answer(market: Market) -> None:
    expected = {"ann": 150, "paris": 10, "france": 30, "bob": 1000, "books": 150}

    def total(person: str) -> tuple[str, Any]:
        rows = market.rows(person, "sales", "Amount", levels=["City"], include_totals=True)
        return person, rows[0][-1]

    with ThreadPoolExecutor(8) as pool:
        for person, amount in pool.map(total, list(expected) * 20):
            assert amount == expected[person], person


def test_a_total_is_of_what_is_seen(market: Market) -> None:
    rows = market.rows("france", "sales", "Amount", levels=["City"], include_totals=True)
    assert rows == [[None, None, 30], ["France", None, 30], ["France", "Lyon", 20], ["France", "Paris", 10]]
    assert market.sql("france", "SELECT sum(amount) FROM sales") == [[30]]
    # Somebody without restrictions sees facts whose shop nobody knows.
    rows = market.rows("ann", "sales", "Amount", levels=["Country"])
    assert rows == [["France", 30], ["Italy", 40], ["N/A", 80]]
    assert market.rows(
        "ann",
        "sales",
        "Amount",
        levels=["Country"],
        filter=[{"field": "Country", "op": "eq", "value": "N/A"}],
    ) == [["N/A", 80]]


def test_joins_of_a_cube_hand_restrictions_on_unless_they_say_otherwise(market: Market) -> None:
    statement = "SELECT count(*) FROM sales"
    assert market.sql("paris", statement) == [[1]], "in raw SQL as well"
    loose = CUBE | {"joins": [{"table": "shops", "on": {"shop": "id"}, "inherit": False}]}
    market.define("sales", loose)
    assert market.sql("paris", statement) == [[4]]
    assert market.rows("paris", "sales", "Amount", levels=["City"]) == [
        ["France", "Paris", 10],
        ["N/A", "N/A", 140],
    ]
    market.define("sales", CUBE)
    assert market.sql("paris", statement) == [[1]]
    assert market.http("DELETE", market.path("sales"), GOVERNOR).status_code == 204
    assert market.sql("paris", statement) == [[4]], "as if it had never been"
    assert market.code(market.ask("paris", "sales", {"measures": []})) == "CUBE_NOT_ALLOWED"


def test_only_who_puts_policies_defines_cubes(market: Market) -> None:
    assert market.put("sales", CUBE, "ann").status_code == 403
    for method, rest in [("DELETE", []), ("GET", ["definition"]), ("GET", ["history"])]:
        assert market.http(method, market.path("sales", *rest), "ann").status_code == 403
    history = market.http("GET", market.path("sales", "history"), GOVERNOR).json()["items"]
    assert [(version["version"], version["removed"]) for version in history] == [(1, False)]
    assert json.loads(history[0]["document"]) == CUBE
    definition = market.http("GET", market.path("sales", "definition"), GOVERNOR).json()
    assert definition == history[0]
    assert definition["author"] == GOVERNOR
    assert market.put("new/name", CUBE).status_code == 400


def test_what_is_wrong_is_said_where_it_is(market: Market) -> None:
    for document, line, message, suggestion in [
        ("table: saels\n", 1, "there is no table `saels`", "did you mean `sales`?"),
        ("table: sales\njoin: []\n", 2, "unknown key `join`", "did you mean `joins`?"),
        ("table: sales\njoins:\n  - { table: shops, on: { shop: idd } }\n", 3, "idd", "did you mean `id`?"),
        ("table: sales\njoins:\n  - { table: shops, on: { day: id } }\n", 3, "a whole number", None),
        ("table: sales\njoins:\n  - { table: shops, on: { shop: region } }\n", 3, "is no key", None),
        ("table: sales\njoins:\n  - { table: shops, on: { shop: id, id: id } }\n", 3, "one column", None),
        ("table: sales\njoins:\n  - { table: sales, on: { shop: id } }\n", 3, "twice", None),
        (
            "table: sales\njoins:\n  - { table: shops, from: regions, on: { region: id } }\n"
            "  - { table: regions, from: shops, on: { region: id } }\n",
            3,
            "a circle",
            None,
        ),
        (
            "table: sales\njoins:\n  - { table: shops, from: x, on: { shop: id } }\n",
            3,
            "no table of the cube",
            None,
        ),
        ("table: sales\nhierarchies:\n  H: [dya]\n", 3, "there is no column `dya`", "did you mean `day`?"),
        ("table: sales\nhierarchies:\n  H: [day, day]\n", 3, "two levels are called `day`", None),
        ("table: sales\nhierarchies:\n  H: []\n", 3, "1 to 16 levels", None),
        (
            "table: sales\njoins: [ { table: shops, on: { shop: id } } ]\nhierarchies:\n  H: [id]\n",
            4,
            "several tables have a column `id`",
            None,
        ),
        (
            "table: sales\nmeasures:\n  M: { sum: amuont }\n",
            3,
            "no column `amuont`",
            "did you mean `amount`?",
        ),
        ("table: sales\nmeasures:\n  M: { sum: secret }\n", 3, "can't be computed of a text", None),
        ("table: sales\nmeasures:\n  M: { sum: amount, mean: amount }\n", 3, "only one of", None),
        ("table: sales\nmeasures:\n  M: { format: x }\n", 3, "a measure is one of", None),
        ("table: sales\nmeasures:\n  M: { sum: amount + }\n", 3, "can't be read", None),
        ("table: sales\nmeasures:\n  M: { sum: upper(secret) }\n", 3, "can't be used in a measure", None),
        (
            "table: sales\nmeasures:\n  M: { sum: principal.user_id }\n",
            3,
            "the principal can't be used",
            None,
        ),
        ("table: sales\nmeasures:\n  M: { expression: '\"N\"' }\n", 3, "there is no measure `N`", None),
        (
            "table: sales\nmeasures:\n  M: { expression: '\"N\" + 1' }\n  N: { expression: '\"M\" + 1' }\n",
            3,
            "in a circle",
            None,
        ),
        ("table: sales\nmeasures:\n  M: { sum: amount }\n  M: { sum: cost }\n", 4, "twice", None),
        ("table: sales\nmeasures:\n  M: { quantile: { column: amount, q: 2 } }\n", 3, "from 0 to 1", None),
    ]:
        answer = market.put("wrong", document)
        assert answer.status_code == 422, f"{document}: {answer.text}"
        body = answer.json()
        assert body["code"] == "CUBE_INVALID", document
        problem = body["problems"][0]
        assert message in problem["message"], f"{document}: {problem}"
        assert problem["line"] == line, f"{document}: {problem}"
        if suggestion:
            assert problem["suggestion"] == suggestion, document
    assert "wrong" not in {
        cube["name"] for cube in market.http("GET", market.path(), "books").json()["items"]
    }


def test_cubes_and_a_policy_that_go_in_a_circle_run_nothing(market: Market) -> None:
    circular = POLICY + "joins:\n  - { from: shops.id, to: sales.shop, inherit: true }\n"
    answer = market.http(
        "PUT",
        f"/v1/policies/{market.path().removeprefix('/v1/cubes/')}",
        GOVERNOR,
        data=circular.encode(),
        headers={"Content-Type": "application/yaml"},
    )
    assert answer.status_code == 422, answer.text
    assert "in a circle" in answer.text
    market.http("DELETE", market.path("sales"), GOVERNOR)
    market.policy(circular)
    answer = market.put("sales", CUBE)
    assert answer.status_code == 422
    assert "in a circle" in answer.json()["problems"][0]["message"]


def test_a_cube_that_fits_no_more_still_hands_restrictions_on(postgres: Postgres) -> None:
    with markets("postgresql", postgres, *PEOPLE) as market:
        tables(market)
        market.connect(*(person.name for person in PEOPLE))
        market.policy(POLICY)
        market.define("sales", CUBE)
        postgres.execute("ALTER TABLE shops RENAME COLUMN country TO land", database="market")
        market.refresh()
        described = market.ask("ann", "sales", {"measures": ["Amount"]})
        assert market.code(described) in ("CUBE_UNUSABLE", "RELATION_SUSPENDED")
        answer = market.places.ask("paris", market.connection, "SELECT sum(amount) FROM sales")
        assert not answer.ok or answer.json()["rows"] == [[10]], answer.text


def test_a_connection_without_a_policy_has_no_cubes(postgres: Postgres) -> None:
    with markets("sqlite", None, *PEOPLE) as market:
        tables(market)
        market.connect("ann")
        assert market.code(market.put("sales", CUBE)) == "CUBE_NOT_ALLOWED"
        assert market.code(market.http("GET", market.path(), "ann")) == "CUBE_NOT_ALLOWED"


def test_forms_of_an_answer(market: Market) -> None:
    query = {"measures": ["Amount"], "levels": ["Country"], "include_totals": True}

    def as_form(accept: str) -> Any:
        answer = market.ask("france", "sales", query, Accept=accept)
        assert answer.headers["content-type"] == accept
        return answer

    cells = as_form("application/vnd.ringfence.cellset+json").json()
    assert cells["cells"] == [[30], [30]]
    assert cells["axes"][0]["positions"] == [[], ["France"]]
    assert cells["axes"][1]["positions"] == [["Amount"]]
    text = as_form("text/csv").content.decode()
    assert text == "Country,Amount,grouping\r\n,30,0\r\nFrance,30,1\r\n"
    # An Arrow stream begins with the mark of a message and ends with an empty one.
    stream = as_form("application/vnd.apache.arrow.stream").content
    assert stream.startswith(b"\xff\xff\xff\xff")
    assert stream.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")
    assert market.code(market.ask("france", "sales", query, Accept="image/png")) == "NOT_ACCEPTABLE"


def test_limits_and_orders(market: Market) -> None:
    query = {"levels": ["City"], "order": [{"by": "Amount", "descending": True}]}
    answer = market.query("ann", "sales", "Amount", **query, limit=2)
    assert answer["has_more"] is True
    assert answer["rows"] == [["N/A", "N/A", 80], ["Italy", "Rome", 40]]
    assert market.query("ann", "sales", "Amount", **query, limit=4)["has_more"] is False
    assert market.code(market.ask("ann", "sales", {"limit": 0})) == "INVALID_REQUEST"
    market.policy(POLICY + "budget: { max_rows: 3 }\n")
    assert market.code(market.ask("ann", "sales", {"measures": ["Amount"], **query})) == "BUDGET_EXCEEDED"
    assert len(market.rows("ann", "sales", "Amount", **query, limit=3)) == 3
    assert market.code(market.ask("ann", "sales", {"limit": 4})) == "BUDGET_EXCEEDED"


def test_queries_are_on_record_without_their_values(market: Market) -> None:
    asked = {"field": "City", "op": "eq", "value": "Lyon-of-the-record"}
    market.rows("ann", "sales", "Amount", levels=["City"], filter=asked)
    path = "/v1/audit?action=query-cube&limit=1"
    wait_for("the record", lambda: bool(market.http("GET", path, GOVERNOR).json()["items"]))
    records = market.http("GET", path, GOVERNOR)
    record = records.json()["items"][0]
    assert record["action"] == "query-cube"
    assert record["object"] == "sales"
    assert "Lyon-of-the-record" not in records.text
    assert any("sales" in table for table in record["tables"])


def test_roles_are_restricted_from_the_command_line(market: Market, tmp_path: Path) -> None:
    def command(*arguments: str, text: str = "") -> tuple[int, str, str]:
        target = ["--connection", market.connection, "--user", GOVERNOR]
        done = market.places.gateway.command("restrictions", *arguments, *target, text=text)
        return done.returncode, done.stdout, done.stderr

    def cities(person: str) -> list[str]:
        return [row[1] for row in market.rows(person, "sales", "Amount", levels=["City"])]

    market.roles("ann", "SOUTH")
    assert command("list") == (0, "", "")
    rome = [{"table": "shops", "column": "city", "in": ["Rome"]}]
    code, said, _ = command("put", "SOUTH", text=json.dumps(rome))
    assert (code, said) == (0, "done: SOUTH is restricted now\n")
    wait_for("the server to hear of it", lambda: cities("ann") == ["Rome"])
    lyon = [{"table": "shops", "column": "city", "condition": "city LIKE 'L%'"}]
    file = tmp_path / "south.json"
    file.write_text(json.dumps({"restrictions": lyon}))
    assert command("put", "SOUTH", str(file))[0] == 0
    wait_for("the server to hear of it", lambda: cities("ann") == ["Lyon"])
    assert command("list")[1].split(maxsplit=1) == ["SOUTH", "shops.city: city LIKE 'L%'\n"]
    listed = json.loads(command("list", "--json")[1])
    path = f"/v1/security/restrictions/{market.path().removeprefix('/v1/cubes/')}"
    assert listed == market.http("GET", path, GOVERNOR).json()
    assert listed == {"items": [{"role": "SOUTH", "restrictions": lyon}]}
    for wrong, code, told in [
        ("[{]", 2, "standard input: "),
        ('{"rows": []}', 2, "no list of restrictions"),
        ('[{"table": "shops", "column": "city", "is": 1}]', 2, "restriction 1: unknown field `is`"),
        ('[{"table": "shops", "column": "town", "in": []}]', 1, "shops has no column `town`"),
    ]:
        done = command("put", "SOUTH", "-", text=wrong)
        assert done[0] == code, done
        assert told in done[2], done
    assert command("remove", "SOUTH")[:2] == (0, "removed: SOUTH restricts nothing now\n")
    wait_for("the server to hear of it", lambda: len(cities("ann")) == 4)
    again = command("remove", "SOUTH")
    assert again[0] == 1
    assert "restricted role" in again[2]
    assert command("list") == (0, "", "")

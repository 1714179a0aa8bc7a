"""What needs no server, either: streams in pieces, types, conditions, frames of cubes, hostile names."""

import asyncio
import copy
import datetime
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pytest
import ringfence
from ringfence import frames, values
from ringfence.conditions import literal, quoted
from ringfence.cubecalls import Cells, CubeBase, Levels, formatted
from ringfence.drawing import Diagram, Entity, Line, tree
from ringfence.securitycalls import entries
from ringfence.streams import ArrowStream, LineStream
from ringfence.tables import TableBase, TablesBase

from client.test_core import SECRET, URL, opened, table_of, with_connection

SCRIPT = "<script>alert('x')</script>"


class TestStreams:
    TABLE = pa.table({"n": [1, None, 3], "text": pa.array(["a", "b", "a"]).dictionary_encode()})

    def arrow(self) -> bytes:
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, self.TABLE.schema) as writer:
            writer.write_table(self.TABLE, max_chunksize=2)
        return sink.getvalue()

    @pytest.mark.parametrize("size", [1, 7, 64, 100_000])
    def test_arrow_in_pieces(self, size: int) -> None:
        content, stream = self.arrow(), ArrowStream()
        batches = []
        for start in range(0, len(content), size):
            batches += stream.feed(content[start : start + size])
        batches += stream.finish()
        assert pa.Table.from_batches(batches) == self.TABLE

    def test_arrow_that_is_cut_off(self) -> None:
        content = self.arrow()
        for end in range(0, len(content) - 8, 5):
            stream = ArrowStream()
            stream.feed(content[:end])
            with pytest.raises(ringfence.UnexpectedAnswer, match="cut off"):
                stream.finish()
        for rubbish in (b"<html></html>", b"\xff\xff\xff\xff\x10\x00\x00\x00" + b"\xfe" * 16):
            with pytest.raises(ringfence.UnexpectedAnswer):
                ArrowStream().feed(rubbish)

    def test_lines_in_pieces(self) -> None:
        content = b'{"a":1,"b":1.5}\n{"a":null,"b":2}\n{"a":3,"b":null}\n'
        for size in (1, 5, 100):
            stream = LineStream()
            batches = []
            for start in range(0, len(content), size):
                batches += stream.feed(content[start : start + size])
            table = pa.Table.from_batches(batches + stream.finish())
            assert table.to_pydict() == {"a": [1, None, 3], "b": [1.5, 2.0, None]}

    def test_lines_that_end_in_an_error(self) -> None:
        failed = {"code": "SOURCE_LOST", "detail": "gone", "status": 424}
        with pytest.raises(ringfence.Refused) as lost:
            LineStream().feed(f'{{"a":1}}\n{json.dumps({"error": failed})}\n'.encode())
        assert lost.value.code == "SOURCE_LOST"
        stream = LineStream()
        stream.feed(b'{"a":1}\n{"a":')
        with pytest.raises(ringfence.UnexpectedAnswer, match="middle of a row"):
            stream.finish()

    def test_types_do_not_change_silently(self) -> None:
        lines = b'{"a":1}\n' * 4096 + b'{"a":"x"}\n'
        stream = LineStream()
        assert len(stream.feed(lines)) == 1
        with pytest.raises(ringfence.UnexpectedAnswer, match="name its type"):
            stream.finish()

    def test_the_server_decides_the_form(self) -> None:
        content = self.arrow()

        def handle(request: httpx.Request) -> httpx.Response:
            assert request.headers["accept"].startswith("application/vnd.apache.arrow.stream")
            return httpx.Response(
                200, content=content, headers={"content-type": "application/vnd.apache.arrow.stream"}
            )

        with opened(handle).stream("SELECT 1") as rows:
            assert [tuple(row) for row in rows] == [(1, "a"), (None, "b"), (3, "a")]

        async def run() -> None:
            transport = httpx.MockTransport(with_connection(handle))
            async with (
                ringfence.AsyncSession(URL, SECRET, transport=transport) as one,
                await one.stream("SELECT 1") as rows,
            ):
                assert await rows.to_arrow() == self.TABLE

        asyncio.run(run())


class TestValues:
    def test_types_of_databases(self) -> None:
        cases: list[tuple[str, list[Any], Any, list[Any]]] = [
            ("int4", [1, None], pa.int64(), [1, None]),
            (
                "numeric(10, 2)",
                [Decimal("1.50"), 2],
                pa.decimal128(38, 2),
                [Decimal("1.50"), Decimal("2.00")],
            ),
            ("numeric", ["20.1666666666666667"], pa.decimal128(38, 16), [Decimal("20.1666666666666667")]),
            ("double precision", [Decimal("1.5"), "NaN"], pa.float64(), None),  # type: ignore[list-item]
            ("BOOLEAN", [1, 0, None], pa.bool_(), [True, False, None]),
            ("character varying", ["a"], pa.string(), ["a"]),
            ("", [1, Decimal("1.5")], pa.float64(), [1.0, 1.5]),
            ("bytea", ["\\x01"], pa.binary(), [b"\x01"]),
            ("date", ["2026-01-31"], pa.date32(), [datetime.date(2026, 1, 31)]),
            ("null", [None], pa.null(), [None]),
        ]
        for kind, wire, expected, python in cases:
            made = values.column(kind, wire)
            assert made.type == expected, kind
            if python is not None:
                assert made.to_pylist() == python

    def test_what_does_not_fit_is_text(self) -> None:
        # SQLite keeps what it is given.
        assert values.column("integer", [1, "two"]).to_pylist() == ["1", "two"]
        assert values.column("date", ["2026-01-31", "soon"]).to_pylist() == ["2026-01-31", "soon"]
        assert values.column("integer", ["****"]).to_pylist() == ["****"]

    def test_moments(self) -> None:
        utc = datetime.UTC
        for text, expected in [
            ("2026-01-31T10:00:00Z", datetime.datetime(2026, 1, 31, 10, tzinfo=utc)),
            ("2026-01-31T10:00:00.5+00:00", datetime.datetime(2026, 1, 31, 10, 0, 0, 500000, tzinfo=utc)),
            ("2026-01-31 10:00:00.1234567", datetime.datetime(2026, 1, 31, 10, 0, 0, 123456)),
            ("2026-01-31 10:00:00+00", datetime.datetime(2026, 1, 31, 10, tzinfo=utc)),
        ]:
            assert values.moment(text) == expected

    def test_parameters(self) -> None:
        given = [None, True, 1, 1.5, Decimal("1.50"), "ü", datetime.date(2026, 1, 31), b"\x01"]
        assert [values.parameter(value) for value in given] == [
            None,
            "true",
            "1",
            "1.5",
            "1.50",
            "ü",
            "2026-01-31",
            "\\x01",
        ]
        with pytest.raises(TypeError, match="stands for one value"):
            values.parameter([1])

    def test_two_columns_of_one_name(self) -> None:
        result = frames.Result(["a", "a"], ["int4", "int4"], [[1, 2]])
        assert list(result.to_pandas().columns) == ["a", "a"]
        assert result.to_polars().columns == ["a", "a_1"]
        assert result.rows[0].as_dict() == {"a": 1, "a_1": 2}


def test_frames_are_imported_when_asked_for() -> None:
    """In a fresh process, where neither is there."""
    script = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pandas", "polars"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import ringfence, ringfence.frames as frames
result = frames.Result(["a"], ["int4"], [[1]])
assert result.to_arrow().num_rows == 1 and "1" in result._repr_html_()
for form in ("pandas", "polars"):
    try:
        getattr(result, f"to_{form}")()
    except ringfence.MissingDependency as error:
        assert f"pip install ringfence[{form}]" in str(error), error
    else:
        raise SystemExit(form)
"""
    source = str(Path(ringfence.__file__).parents[1])
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr


class TestConditions:
    def table(self) -> TableBase:
        return TableBase("public", table_of("shops", City="text", Country="text", Size="integer"))

    def test_restrictions(self) -> None:
        shops = self.table()
        city, country = shops["City"], shops["Country"]
        name = "public.shops"
        assert entries(city == "Paris") == [{"table": name, "column": "City", "in": ["Paris"]}]
        assert entries(city.isin("Paris", "Lyon")) == [
            {"table": name, "column": "City", "in": ["Paris", "Lyon"]}
        ]
        assert entries({("shops", "City"): ["Paris"]}) == [
            {"table": "shops", "column": "City", "in": ["Paris"]}
        ]
        assert entries((city == "Paris") & (shops["Size"] > 3)) == [
            {"table": name, "column": "City", "in": ["Paris"]},
            {"table": name, "column": "Size", "condition": '"Size" > 3'},
        ]
        assert entries((city == "Paris") | (country == "USA")) == [
            {"table": name, "column": "Country", "condition": "(\"City\" = 'Paris') OR (\"Country\" = 'USA')"}
        ]

    def test_a_conjunction_on_one_hierarchy_never_becomes_alternatives(self) -> None:
        shops = self.table()
        both = (shops["Country"] == "France") & (shops["City"] == "Paris")
        together = [frozenset({("public.shops", "Country"), ("public.shops", "City")})]
        assert entries(both, together) == [
            {
                "table": "public.shops",
                "column": "City",
                "condition": "(\"Country\" = 'France') AND (\"City\" = 'Paris')",
            }
        ]
        once = (shops["City"] > "A") & (shops["City"] < "M")
        assert entries(once) == [
            {"table": "public.shops", "column": "City", "condition": "(\"City\" > 'A') AND (\"City\" < 'M')"}
        ]

    def test_texts_can_not_leave_their_quotes(self) -> None:
        assert literal("it's") == "'it''s'"
        assert quoted('a"b') == '"a""b"'
        hostile = TableBase("", table_of("t", **{'a" = 1 OR "a': "text"}))
        column = hostile['a" = 1 OR "a']
        assert entries((column == "') OR TRUE --") | (column == "y"))[0]["condition"] == (
            '("a"" = 1 OR ""a" = \'\'\') OR TRUE --\') OR ("a"" = 1 OR ""a" = \'y\')'
        )

    def test_measures(self) -> None:
        sales = TableBase("", table_of("sales", Quantity="float8", **{"Unit price": "float8"}))
        quantity, price = sales["Quantity"], sales["Unit price"]
        assert ringfence.sum(quantity).definition() == {"sum": "Quantity"}
        assert ringfence.sum(quantity * price).definition() == {"sum": '("Quantity" * "Unit price")'}
        assert ringfence.mean(1 - quantity / -2).definition() == {"mean": '(1 - ("Quantity" / (-2)))'}
        assert ringfence.quantile(quantity, 0.9).definition() == {
            "quantile": {"column": "Quantity", "q": 0.9}
        }
        turnover = ringfence.Measure({"name": "Turnover", "type": "decimal"})
        pieces = ringfence.Measure({"name": 'a "b"', "type": "decimal"})
        ratio = (turnover / pieces * 100).described(format="0.0%")
        assert ratio.definition() == {"expression": '("Turnover" / "a ""b""") * 100', "format": "0.0%"}
        assert ringfence.share(turnover, of="parent").definition() == {"share": "Turnover", "of": "parent"}
        with pytest.raises(TypeError, match="name this figure first"):
            (ringfence.sum(quantity) / turnover).definition()
        with pytest.raises(TypeError, match="is no number"):
            quantity * "2"
        with pytest.raises(TypeError, match="sum is of a column"):
            ringfence.sum([1, 2])  # type: ignore[arg-type]


CUBE = {
    "name": "sales",
    "table": "public.sales",
    "hierarchies": [
        {"name": "Geography", "levels": [{"name": "Country"}, {"name": "City"}]},
        {"name": "City", "levels": [{"name": "City"}]},
        {"name": "Product", "levels": [{"name": "Product"}]},
    ],
    "measures": [{"name": "Quantity.SUM", "type": "decimal", "format": None}],
}


class TestCubes:
    def test_levels(self) -> None:
        levels = CubeBase(None, CUBE).levels  # type: ignore[arg-type]
        assert levels["Country"].wire_name() == "Country"
        assert levels["Geography", "City"].wire_name() == "Geography.City"
        with pytest.raises(KeyError, match="several hierarchies"):
            levels["City"]
        with pytest.raises(KeyError, match="no level 'Planet'"):
            levels["Planet"]
        assert isinstance(levels, Levels)
        assert len(levels) == 4

    def test_frames(self) -> None:
        answer = {
            "levels": [{"name": "Country", "type": "text"}, {"name": "City", "type": "text"}],
            "measures": [{"name": "Quantity.SUM", "type": "decimal", "format": None}],
            "rows": [
                [None, None, Decimal("15.5")],
                ["France", None, 5],
                ["France", "Paris", 5],
                [None, None, Decimal("10.5")],
                [None, None, Decimal("10.5")],
            ],
            "grouping": [0, 1, 2, 1, 2],
        }
        cells = Cells(answer)
        frame = cells.to_pandas()
        assert frame.index.names == ["Country", "City"]
        assert frame.index.tolist() == [
            ("Total", ""),
            ("France", "Total"),
            ("France", "Paris"),
            ("N/A", "Total"),
            ("N/A", "N/A"),
        ]
        assert frame["Quantity.SUM"].tolist()[0] == Decimal("15.5")
        assert cells.to_polars().shape == (5, 3)
        assert "<th" in cells._repr_html_()
        assert "15.50" in cells._repr_html_()

    def test_nothing_is_an_empty_frame(self) -> None:
        measure = [{"name": "contributors.COUNT", "type": "integer", "format": None}]
        levels = [{"name": "Continent", "type": "text"}, {"name": "Country", "type": "text"}]
        for level in (levels, levels[:1]):
            frame = Cells({"levels": level, "measures": measure, "rows": []}).to_pandas()
            assert str(frame) == "Empty DataFrame\nColumns: [contributors.COUNT]\nIndex: []"

    def test_formats(self) -> None:
        assert formatted(Decimal("3027"), None) == "3,027.00"
        assert formatted(8077.0, None) == "8,077.00"
        assert formatted(1234, None) == "1,234"
        assert formatted(Decimal("0.1234"), "0.0%") == "12.3%"
        assert formatted(1234.5, "#,##0.00") == "1,234.50"
        assert formatted(None, "0.00") is None

    def test_a_measure_is_of_the_facts(self) -> None:
        cube = CubeBase(None, CUBE)  # type: ignore[arg-type]
        shops = TableBase("public", table_of("shops", Size="integer"))
        with pytest.raises(ValueError, match=r"measures are over columns of public\.sales"):
            next(cube.set_measure_plan("Size", ringfence.sum(shops["Size"])))


class TestPictures:
    """Names of tables, columns and members are anybody's: nothing of them is markup."""

    def check(self, markup: str) -> None:
        assert "<script" not in markup
        assert "onerror" not in markup or "&lt;img" in markup
        # Well-formed, with what was hostile as text.
        ElementTree.fromstring(markup)

    def test_tables_with_hostile_names(self) -> None:
        result = frames.Result(
            [SCRIPT, "b"], ["text", "text"], [["<img src=x onerror=alert(1)>", "&amp;"], [None, "]]>"]]
        )
        markup = result._repr_html_()
        self.check(markup)
        assert "&lt;script&gt;" in markup
        assert "&amp;amp;" in markup

    def test_diagrams_with_hostile_names(self) -> None:
        one = TableBase("s", table_of(SCRIPT, **{"a'\"><img src=x onerror=alert(1)>": "text", "id": "int4"}))
        two = TableBase("s", table_of("</title></svg>" + SCRIPT + "long" * 20, id="int4"))
        hostile = "a'\"><img src=x onerror=alert(1)>"
        one.join(two, one[hostile] == two["id"])
        diagram = TablesBase([one, two]).schema
        self.check(diagram.svg())
        self.check(diagram._repr_html_())
        for thing in (one, two, TablesBase([one, two])):
            self.check(thing._repr_html_())
        # A quote can't end a name in Mermaid's text either.
        assert diagram.mermaid.count('"') % 2 == 0
        assert "\"a''><img src=x onerror=alert(1)>\"" in diagram.mermaid

    def test_trees_with_hostile_names(self) -> None:
        self.check(tree(SCRIPT, [(SCRIPT, [SCRIPT])]))
        hostile = copy.deepcopy(CUBE)
        hostile["name"] = SCRIPT
        cube = CubeBase(None, hostile)  # type: ignore[arg-type]
        self.check(cube._repr_html_())
        assert "Geography: Country > City" in repr(cube)

    def test_the_diagram_of_document_002(self) -> None:
        diagram = Diagram(
            [
                Entity("Sales", [("String", "Sale ID", True, False), ("double", "Quantity", False, True)]),
                Entity("Shops", [("String", "Shop ID", True, False)]),
            ],
            [Line(0, 1, [("Shop", "Shop ID")])],
        )
        assert " ".join(str(diagram).split()) == (
            'erDiagram "Sales" { _ String PK "Sale ID" _ nullable double "Quantity" } '
            '"Shops" { _ String PK "Shop ID" } "Sales" }o--o| "Shops" : "`Shop` == `Shop ID`"'
        )


class TestJoins:
    def test_both_ways_of_writing(self) -> None:
        sales = TableBase("", table_of("sales", Shop="text", Id="text"))
        shops = TableBase("", table_of("shops", Key="text", Id="text"))
        for on in (sales["Shop"] == shops["Key"], shops["Key"] == sales["Shop"], {"Shop": "Key"}):
            sales.join(shops, on)
            assert [join.on for join in sales.joins] == [{"Shop": "Key"}]
        sales.join(shops)
        assert sales.joins[0].on == {"Id": "Id"}
        with pytest.raises(ValueError, match="is not"):
            sales.join(shops, sales["Shop"] == sales["Id"])
        with pytest.raises(KeyError, match="no column 'Nope'"):
            sales.join(shops, {"Nope": "Key"})

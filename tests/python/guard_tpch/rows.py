"""Rows for the tables: small, always the same, and for each tenant others."""

import random
from collections.abc import Iterator
from datetime import date, timedelta

TENANTS = (1, 2, 3)

# How many rows a tenant has.
SUPPLIERS, CUSTOMERS, PARTS, ORDERS = 24, 60, 80, 400

REGIONS = ("AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST")
NATIONS = (
    ("ALGERIA", 0),
    ("KENYA", 0),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("INDIA", 2),
    ("JAPAN", 2),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("IRAN", 4),
    ("SAUDI ARABIA", 4),
)
SEGMENTS = ("AUTOMOBILE", "BUILDING", "FURNITURE", "HOUSEHOLD", "MACHINERY")
PRIORITIES = ("1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW")
MODES = ("AIR", "AIR REG", "FOB", "MAIL", "RAIL", "SHIP", "TRUCK")
INSTRUCTIONS = ("COLLECT COD", "DELIVER IN PERSON", "NONE", "TAKE BACK RETURN")
CONTAINERS = ("JUMBO PKG", "LG CASE", "MED BAG", "MED BOX", "SM CASE", "SM PACK", "WRAP JAR")
TYPES = (
    "ECONOMY ANODIZED STEEL",
    "LARGE BRUSHED BRASS",
    "MEDIUM POLISHED TIN",
    "PROMO BURNISHED COPPER",
    "SMALL PLATED BRASS",
    "STANDARD POLISHED STEEL",
)
COLOURS = ("almond", "azure", "forest", "green", "ivory", "khaki", "lemon", "plum")

FIRST, LAST = date(1992, 1, 1), date(1998, 8, 2)

# Where the present lies: what was shipped later is open.
TODAY = date(1995, 6, 17)

Row = tuple[object, ...]


def rows() -> Iterator[tuple[str, Row]]:
    """Every row, with its table, in an order that references allow. No key tells whose a row is."""
    for tenant in TENANTS:
        yield from Tenant(tenant).rows()


class Tenant:
    """What one tenant has. Its keys are those that leave its number as remainder."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.random = random.Random(4711 + number)

    def rows(self) -> Iterator[tuple[str, Row]]:
        yield from (("region", self._of(self._key(n), name, self._words())) for n, name in enumerate(REGIONS))
        yield from (
            ("nation", self._of(self._key(n), name, self._key(region), self._words()))
            for n, (name, region) in enumerate(NATIONS)
        )
        yield from (("supplier", self._supplier(number)) for number in range(SUPPLIERS))
        yield from (("customer", self._customer(number)) for number in range(CUSTOMERS))
        yield from (("part", self._part(number)) for number in range(PARTS))
        for number in range(PARTS):
            for step in range(4):
                supplier = (number + step * (SUPPLIERS // 4)) % SUPPLIERS
                quantity, cost = self.random.randint(1, 9999), self._money(1, 1000)
                row = self._of(self._key(number), self._key(supplier), quantity, cost, self._words())
                yield "partsupp", row
        for number in range(ORDERS):
            yield from self._order(number)

    def _key(self, number: int) -> int:
        return number * len(TENANTS) + self.number

    def _of(self, *values: object) -> Row:
        return (self.number, *values)

    def _money(self, low: int, high: int) -> str:
        return f"{self.random.randint(low * 100, high * 100) / 100:.2f}"

    def _words(self) -> str:
        picked = self.random.choices(
            [*COLOURS, "special", "requests", "pending", "Customer", "Complaints"], k=4
        )
        return " ".join([*picked, f"OF{self.number}"])

    def _phone(self, nation: int) -> str:
        return f"{10 + nation}-{self.random.randint(100, 999)}-{self.random.randint(1000, 9999)}"

    def _supplier(self, number: int) -> Row:
        nation = self.random.randrange(len(NATIONS))
        name, address = f"Supplier#{number:04}", f"{number} Dock Road"
        balance = self._money(-900, 9000)
        return self._of(
            self._key(number), name, address, self._key(nation), self._phone(nation), balance, self._words()
        )

    def _customer(self, number: int) -> Row:
        nation = self.random.randrange(len(NATIONS))
        name, address = f"Customer#{number:04}", f"{number} Hill Street"
        segment, balance = self.random.choice(SEGMENTS), self._money(-900, 9000)
        return self._of(
            self._key(number),
            name,
            address,
            self._key(nation),
            self._phone(nation),
            balance,
            segment,
            self._words(),
        )

    def _part(self, number: int) -> Row:
        maker = self.random.randint(1, 3)
        return self._of(
            self._key(number),
            " ".join(self.random.sample(COLOURS, 3)),
            f"Manufacturer#{maker}",
            f"Brand#{maker}{self.random.randint(1, 3)}",
            self.random.choice(TYPES),
            self.random.randint(1, 15),
            self.random.choice(CONTAINERS),
            self._money(900, 2000),
            self._words(),
        )

    def _order(self, number: int) -> Iterator[tuple[str, Row]]:
        ordered = FIRST + timedelta(days=self.random.randrange((LAST - FIRST).days))
        lines = [self._line(number, line, ordered) for line in range(1, self.random.randint(2, 8))]
        states = {str(line[10]) for line in lines}
        state = "P" if len(states) > 1 else states.pop()
        total = f"{sum(float(str(line[6])) for line in lines):.2f}"
        # Every third customer never orders.
        customer = self._key(self.random.choice([n for n in range(CUSTOMERS) if n % 3]))
        clerk = f"Clerk#{self.random.randrange(9):03}"
        priority = self.random.choice(PRIORITIES)
        yield (
            "orders",
            self._of(self._key(number), customer, state, total, ordered, priority, clerk, 0, self._words()),
        )
        yield from (("lineitem", line) for line in lines)

    def _line(self, order: int, line: int, ordered: date) -> Row:
        part = self.random.randrange(PARTS)
        supplier = (part + self.random.randrange(4) * (SUPPLIERS // 4)) % SUPPLIERS
        quantity = self.random.randint(1, 50)
        shipped = ordered + timedelta(days=self.random.randint(1, 121))
        promised = ordered + timedelta(days=self.random.randint(30, 90))
        received = shipped + timedelta(days=self.random.randint(1, 30))
        return self._of(
            self._key(order),
            self._key(part),
            self._key(supplier),
            line,
            quantity,
            f"{quantity * self.random.randint(900, 2000):.2f}",
            f"0.{self.random.randint(0, 10):02}",
            f"0.{self.random.randint(0, 8):02}",
            self.random.choice("RA") if received <= TODAY else "N",
            "F" if shipped <= TODAY else "O",
            shipped,
            promised,
            received,
            self.random.choice(INSTRUCTIONS),
            self.random.choice(MODES),
            self._words(),
        )

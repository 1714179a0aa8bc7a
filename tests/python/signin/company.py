"""Document 004's database, behind a Ringfence whose people sign in with what its tables know of them."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from gateway import ADMIN_KEY, Gateway
from throwaway_postgres import Postgres

DOCUMENT = Path(__file__).parents[3] / ".." / "shared" / "seeds" / "004_flask_postgresql_schemas.txt"

QUERY = (
    "SELECT username, password, company_name FROM app_user JOIN company ON company.id = app_user.company_id"
    " WHERE username = :user"
)


def statements() -> list[str]:
    """The document's own SQL, as it stands there."""
    sections = re.findall(r"{% highlight sql %}\n(.*?){% endhighlight %}", DOCUMENT.read_text(), re.DOTALL)
    schema = next(section for section in sections if "CREATE TABLE company (" in section)
    lines = [line for line in schema.splitlines() if not line.startswith("#")]
    return [text.strip() for text in "\n".join(lines).split(";") if text.strip()]


def connection_key(postgres: Postgres) -> str:
    """What the registered connection is called."""
    return f"postgresql://test@127.0.0.1:{postgres.port}/test"


def settings(postgres: Postgres, more: str = "", server: str = "") -> str:
    """The configuration file."""
    return f"""
[server]
{server}

[sign_in]
enabled = true
secure_cookie = false
{more}

[[directories]]
name = "companies"
connection = "{connection_key(postgres)}"
owner = "my_org_id"
query = "{QUERY}"
columns = {{ tenant = "company_name" }}
organization = "my_org_id"
create_tenants = true
"""


@contextmanager
def gateway(postgres: Postgres, more: str = "", server: str = "") -> Iterator[Gateway]:
    """A fresh Ringfence in front of the document's database."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "ringfence.toml"
        file.write_text(settings(postgres, more, server))
        with Gateway(arguments=["--config", str(file)]) as started:
            register(started, postgres)
            yield started


def make_database(postgres: Postgres) -> None:
    """The document's tables and rows."""
    postgres.create_database("test", "test", "test")
    with postgres.connect("test") as connection:
        connection.execute(b"SET ROLE test")
        for statement in statements():
            connection.execute(statement.encode())


def register(started: Gateway, postgres: Postgres) -> None:
    """The connection that the directory's query runs on."""
    description = {
        "db_type": "postgresql",
        "host": "127.0.0.1",
        "port": postgres.port,
        "username": "test",
        "password": "test",
        "database": "test",
    }
    assert started.call("POST", "connections", description, key=ADMIN_KEY)["key"] == connection_key(postgres)


def sign_in(
    started: Gateway, user: str = "user_1", password: str = "foo", **headers: str
) -> requests.Response:
    """The document's own form."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    form = {"uname": user, "passwd": password}
    return requests.post(f"{started.url}/login", data=form, headers=sent, timeout=30, allow_redirects=False)


def cookie_of(answer: requests.Response) -> dict[str, str]:
    """What a browser would send from then on."""
    assert answer.status_code == 200, answer.text
    return {"ringfence-session": answer.cookies["ringfence-session"]}


def whoami(started: Gateway, cookies: dict[str, str], **headers: str) -> requests.Response:
    """Who a cookie is."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(f"{started.url}/v1/me", cookies=cookies, headers=sent, timeout=30)

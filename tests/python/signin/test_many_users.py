"""Document 004 to its end: /data behind a sign-in, for many people of two companies over two sessions."""

import json
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from gateway import ADMIN_KEY, Gateway
from polling import wait_for
from throwaway_postgres import Postgres
from throwaway_server import free_port

from signin.company import DOCUMENT, connection_key, cookie_of, gateway, make_database, sign_in

PEOPLE = 200
REQUESTS = 10_000
# All of them ask at once; what one user may have in work is not what is looked at here.
SETTINGS = """
sessions_per_user = 200
failures_per_address = 10000

[limits]
queries_per_user = 400
requests_per_user = 400
requests_per_organization = 800

[pools]
per_pool = 2
wait = "30s"
"""
POLICY = b'default: allow\ntenancy: { schema: "{tenant_id}" }\n'
COMPANIES = {"user_1": "company 1 data", "user_2": "company 2 data"}


def publish(started: Gateway, postgres: Postgres) -> None:
    """The policy, and the document's route."""
    connection = connection_key(postgres)
    started.wait_for_catalog(connection, ADMIN_KEY)
    started.put_policy(connection, POLICY, ADMIN_KEY)
    document = {
        "name": "data",
        "path": "/data",
        "connection": connection,
        "statement": "SELECT * FROM company_data",
        "result": {"wrap": "data"},
    }
    started.call("PUT", "endpoints/data", document)


@pytest.fixture(scope="module")
def started(postgres: Postgres) -> Iterator[Gateway]:
    make_database(postgres)
    with gateway(postgres, more=SETTINGS) as running:
        publish(running, postgres)
        yield running


def storm(people: int, count: int, ask: Callable[[int], requests.Response]) -> Counter[str]:
    """What so many people are answered, each at once with all others: their own row, or what else."""
    outcomes: Counter[str] = Counter()
    lock = threading.Lock()

    def work(person: int) -> None:
        own = COMPANIES[f"user_{person % 2 + 1}"]
        for _ in range(count // people):
            try:
                answer = ask(person)
                rows = [row["description"] for row in answer.json()["data"]] if answer.ok else []
                outcome = "own" if rows == [own] else f"{answer.status_code} {rows}"
            except requests.RequestException as error:
                outcome = type(error).__name__
            with lock:
                outcomes[outcome] += 1

    with ThreadPoolExecutor(people) as pool:
        list(pool.map(work, range(people)))
    return outcomes


def curl(*arguments: str) -> str:
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_document_with_its_curl_lines(started: Gateway, tmp_path: Path) -> None:
    for user, company in COMPANIES.items():
        jar = tmp_path / f"{user}.txt"
        jar.write_text(curl("-c", "-", "--data", f"uname={user}&passwd=foo", f"{started.url}/login"))
        rows = json.loads(curl("-b", str(jar), f"{started.url}/data"))
        assert rows == {"data": [{"description": company, "id": 1}]}
        curl("-b", str(jar), "-X", "POST", f"{started.url}/logout")
        assert requests.get(f"{started.url}/data", timeout=30).status_code == 401
        status = curl("-b", str(jar), "-o", "/dev/null", "-w", "%{http_code}", f"{started.url}/data")
        assert status == "401"


def test_many_people_never_see_each_others_rows(started: Gateway) -> None:
    with ThreadPoolExecutor(8) as pool:
        users = [f"user_{person % 2 + 1}" for person in range(PEOPLE)]
        cookies = list(pool.map(lambda user: cookie_of(sign_in(started, user)), users))
    sessions = [requests.Session() for _ in range(PEOPLE)]
    for session, cookie in zip(sessions, cookies, strict=True):
        session.cookies.update(cookie)
    outcomes = storm(PEOPLE, REQUESTS, lambda person: sessions[person].get(f"{started.url}/data", timeout=60))
    assert outcomes == {"own": REQUESTS}


def test_the_documents_own_code_does_not_pass(postgres: Postgres, tmp_path: Path) -> None:
    """So that it is known that the test above can fail: the document's program, with two sessions as well."""
    program = re.findall(r"{% highlight python %}\n(.*?){% endhighlight %}", DOCUMENT.read_text(), re.DOTALL)[
        0
    ]
    program = program.replace(
        "ThreadedConnectionPool(1,20,", f"ThreadedConnectionPool(1,2,port={postgres.port},"
    )
    port = free_port()
    program = program.replace("app.run(debug=True)", f"app.run(port={port}, threaded=True)")
    file = tmp_path / "app.py"
    file.write_text(program)
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, str(file)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            return requests.get(f"{url}/data", timeout=5).status_code == 401
        except requests.ConnectionError:
            return False

    try:
        wait_for("the document's program", is_up)
        sessions = [requests.Session() for _ in range(20)]
        for person, session in enumerate(sessions):
            form = {"uname": f"user_{person % 2 + 1}", "passwd": "foo"}
            assert session.post(f"{url}/login", data=form, timeout=30).ok
            assert session.get(f"{url}/data", timeout=30).json()["data"]
        outcomes = storm(20, 1000, lambda person: sessions[person].get(f"{url}/data", timeout=60))
    finally:
        process.terminate()
        process.wait(30)
    assert outcomes != {"own": 1000}

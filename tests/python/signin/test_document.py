"""Document 004's sign-in: its SQL, its hashes, its curl lines."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from gateway import ADMIN_KEY, Gateway
from throwaway_postgres import Postgres

from signin.company import cookie_of, gateway, make_database, sign_in, whoami


@pytest.fixture(scope="module")
def started(postgres: Postgres) -> Iterator[Gateway]:
    make_database(postgres)
    with gateway(postgres) as running:
        yield running


def curl(*arguments: str) -> str:
    done = subprocess.run(["curl", "-sS", *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def test_the_curl_lines_of_the_document(started: Gateway, tmp_path: Path) -> None:
    jar = str(tmp_path / "cookie.txt")
    # `-c -` prints the cookies behind the answer, and the document keeps both in the file.
    printed = curl("-c", "-", "--data", "uname=user_1&passwd=foo", f"{started.url}/login")
    Path(jar).write_text(printed)
    assert printed.startswith('{"msg":"login successful"}')
    me = curl("-b", jar, f"{started.url}/v1/me")
    assert '"tenant":"company1"' in me, me
    assert '"id":"user_1"' in me, me
    assert curl("-b", jar, "-X", "POST", f"{started.url}/logout") == '{"msg":"logout successful"}'
    status = curl("-b", jar, "-o", "/dev/null", "-w", "%{http_code}", f"{started.url}/v1/me")
    assert status == "401"
    status = curl("-o", "/dev/null", "-w", "%{http_code}", f"{started.url}/v1/me")
    assert status == "401"


def test_each_user_is_of_their_own_company(started: Gateway) -> None:
    for user, company in [("user_1", "company1"), ("user_2", "company2")]:
        me = whoami(started, cookie_of(sign_in(started, user))).json()
        assert (me["id"], me["tenant"], me["org"]) == (user, company, "my_org_id")


def test_json_signs_in_too(started: Gateway) -> None:
    for names in [("username", "password"), ("uname", "passwd")]:
        body = dict(zip(names, ["user_2", "foo"], strict=True))
        answer = requests.post(f"{started.url}/login", json=body, timeout=30)
        assert answer.json() == {"msg": "login successful"}
        assert whoami(started, cookie_of(answer)).json()["id"] == "user_2"
    for wrong in [["user_2", "foo"], {"uname": 1, "passwd": "foo"}, {"uname": "a", "username": "b"}]:
        assert requests.post(f"{started.url}/login", json=wrong, timeout=30).status_code == 400


def test_a_failure_is_one_answer(started: Gateway) -> None:
    seen = set()
    for user, password in [
        ("user_1", "wrong"),
        ("user_1", ""),
        ("nobody", "foo"),
        ("' OR 1=1 --", "foo"),
        ("user_1' --", "foo"),
        ("my_org_id", ADMIN_KEY),
        ("", ""),
        ("user_1\0", "foo"),
    ]:
        answer = sign_in(started, user, password)
        assert answer.status_code == 401, user
        assert "set-cookie" not in answer.headers, user
        assert answer.headers["www-authenticate"] == "Bearer"
        body = answer.json()
        del body["trace_id"]
        seen.add(repr(body))
    assert len(seen) == 1, seen


def test_nothing_secret_is_written_down(started: Gateway) -> None:
    cookie = cookie_of(sign_in(started, password="foo"))["ringfence-session"]
    sign_in(started, password="a-very-secret-guess")
    trail = started.command("audit", "export").stdout
    assert '"sign-in"' in trail
    assert '"directory:companies"' in trail
    for secret in [cookie, "a-very-secret-guess", "i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U"]:
        assert secret not in trail
        assert secret not in started.log()
    for file in started.data_dir.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            assert cookie.encode() not in content, file
            assert b"a-very-secret-guess" not in content, file


def test_a_person_sees_and_ends_their_sessions(started: Gateway) -> None:
    first, second = cookie_of(sign_in(started)), cookie_of(sign_in(started))
    listed = requests.get(f"{started.url}/v1/sessions", cookies=first, timeout=30).json()["items"]
    current = [session for session in listed if session["current"]]
    assert len(current) == 1
    assert current[0]["source"] == "directory:companies"
    newest = listed[-1]["id"]
    url = f"{started.url}/v1/sessions/{newest}"
    theirs = cookie_of(sign_in(started, "user_2"))
    assert requests.delete(url, cookies=theirs, timeout=30).status_code == 404
    assert whoami(started, second).ok
    assert requests.delete(url, cookies=first, timeout=30).status_code == 204
    assert whoami(started, second).status_code == 401
    assert whoami(started, first).ok

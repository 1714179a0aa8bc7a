"""Two nodes over one control store: what is taken away here ends there too, before anybody notices."""

import tempfile
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from gateway import Gateway
from polling import wait_for
from throwaway_postgres import Postgres

from signin.company import cookie_of, make_database, register, settings, sign_in, whoami

SEALING_KEY = b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="module")
def nodes(postgres: Postgres) -> Iterator[tuple[Gateway, Gateway]]:
    make_database(postgres)
    postgres.create_database("control", "control", "control")
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "ringfence.toml"
        file.write_text(settings(postgres))
        environment = {
            "RINGFENCE_STORE_URL": f"postgresql://control:control@127.0.0.1:{postgres.port}/control",
            "RINGFENCE_SEALING_KEY": SEALING_KEY,
        }
        arguments = ["--config", str(file)]
        with Gateway(settings=environment, arguments=arguments) as here:
            register(here, postgres)
            with Gateway(settings=environment, arguments=arguments) as there:
                yield here, there


Ask = Callable[[Gateway], requests.Response]


def ended(nodes: tuple[Gateway, Gateway], ask: Ask, take_away: Callable[[], Any], status: int = 401) -> None:
    """It works on both; once it is taken away the very next request here fails, and soon one there."""
    here, there = nodes
    assert ask(here).ok
    assert ask(there).ok
    take_away()
    assert ask(here).status_code == status
    # poll: news travel by LISTEN and NOTIFY; that it takes less than a second is measured by hand
    wait_for("the other node to hear of it", lambda: ask(there).status_code == status)


def by_cookie(cookies: dict[str, str]) -> Ask:
    return lambda node: whoami(node, cookies)


def test_a_session_that_ends_here_ends_there(nodes: tuple[Gateway, Gateway]) -> None:
    here, _ = nodes
    cookies = cookie_of(sign_in(here))
    ended(
        nodes,
        by_cookie(cookies),
        lambda: requests.post(f"{here.url}/logout", cookies=cookies, timeout=30),
    )


def test_an_administrator_ends_sessions(nodes: tuple[Gateway, Gateway]) -> None:
    here, _ = nodes
    cookies = cookie_of(sign_in(here))
    ended(nodes, by_cookie(cookies), lambda: here.call("DELETE", "users/user_1/sessions", None))


def test_a_disabled_user_is_out(nodes: tuple[Gateway, Gateway]) -> None:
    here, _ = nodes
    cookies = cookie_of(sign_in(here))
    ended(nodes, by_cookie(cookies), lambda: here.call("PATCH", "users/user_1", {"disabled": True}))
    assert sign_in(here).status_code == 401
    here.call("PATCH", "users/user_1", {"disabled": False})
    assert sign_in(here).status_code == 200


def test_a_role_that_is_taken_away_is_gone(nodes: tuple[Gateway, Gateway]) -> None:
    here, there = nodes
    cookies = cookie_of(sign_in(here))
    here.call("PUT", "security/individual-roles/user_1", {"roles": ["ROLE_FRANCE"]})

    def roles(node: Gateway) -> Any:
        return whoami(node, cookies).json()["data_roles"]

    assert roles(here) == ["ROLE_FRANCE"]
    wait_for("the role on the other node", lambda: roles(there) == ["ROLE_FRANCE"])
    here.call("PUT", "security/individual-roles/user_1", {"roles": []})
    assert roles(here) == []
    wait_for("the role to be gone there", lambda: roles(there) == [])


def test_a_deleted_user_leaves_nothing(nodes: tuple[Gateway, Gateway]) -> None:
    here, _ = nodes
    cookies = cookie_of(sign_in(here, "user_2"))
    ended(nodes, by_cookie(cookies), lambda: here.call("DELETE", "users/user_2", None))
    # Whoever arrives under that name next starts anew.
    again = cookie_of(sign_in(here, "user_2"))
    assert whoami(here, again).ok
    assert whoami(here, cookies).status_code == 401


def test_a_password_that_is_taken_away_is_wrong(nodes: tuple[Gateway, Gateway]) -> None:
    here, _ = nodes
    here.call("POST", "users", {"id": "robot"})
    here.call("PUT", "security/basic-credentials/robot", {"password": "changeit"})
    headers = {"Authorization": "Basic " + b64encode(b"robot:changeit").decode()}

    def ask(node: Gateway) -> requests.Response:
        return requests.get(f"{node.url}/v1/me", headers=headers, timeout=30)

    ended(
        nodes, ask, lambda: here.call("PUT", "security/basic-credentials/robot", {"password": "another one"})
    )
    headers["Authorization"] = "Basic " + b64encode(b"robot:another one").decode()
    ended(nodes, ask, lambda: here.call("DELETE", "security/basic-credentials/robot", None))

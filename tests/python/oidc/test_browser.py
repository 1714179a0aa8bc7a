"""Signing browsers in at a real provider: the code flow in Chromium, and what goes wrong on the way."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
import requests
from gateway import Gateway
from throwaway_server import free_port

from oidc.identity_provider import PASSWORD, IdentityProvider, identity_provider

COOKIE = "ringfence-session"
JOURNEY = "ringfence-journey"
BACK_CHANNEL = "http://schemas.openid.net/event/backchannel-logout"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def provider(port: int) -> Iterator[IdentityProvider]:
    redirects = [f"http://127.0.0.1:{port}/login/oidc/corporate/callback"]
    with identity_provider(redirects) as one:
        yield one


@pytest.fixture(scope="module")
def server(
    provider: IdentityProvider, port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    file = tmp_path_factory.mktemp("oidc") / "ringfence.toml"
    file.write_text(
        f"""
[sign_in]
enabled = true
secure_cookie = false

[oidc]
public_url = "http://127.0.0.1:{port}"

[[oidc.providers]]
name = "corporate"
title = "Corporate"
issuer = "{provider.issuer}"
client_id = "shop"
client_secret = "{provider.secret}"
organization = "shops"
tenant = "acme"
scopes = ["openid", "profile", "roles"]
roles_claims = [["resource_access", "shop", "roles"]]
default_roles = ["api-user"]
"""
    )
    one = Gateway(settings={"RINGFENCE_CONFIG": str(file)})
    one.port = port
    one.start()
    one.call("POST", "orgs", {"id": "shops"})
    one.call("POST", "tenants", {"id": "acme", "org": "shops"})
    for role, means in (("france", ["ROLE_FRANCE"]), ("atoti", ["api-user"])):
        one.call("PUT", f"security/role-mapping/corporate/{role}", {"means": means})
    yield one
    one.close()


def signed_in(server: Gateway, provider: IdentityProvider, user: str, start: str) -> requests.Session:
    """A browser without a screen, through the provider's own pages."""
    browser = requests.Session()
    answer = browser.get(start, timeout=30)
    for field in ("login", "consent"):
        assert answer.url.startswith(f"{provider.issuer}/interaction/"), (field, answer.url)
        form = {"prompt": field, "login": user, "password": PASSWORD}
        answer = browser.post(answer.url, data=form, timeout=30)
    return browser


def me(server: Gateway, secret: str | None) -> requests.Response:
    cookies = {COOKIE: secret} if secret else {}
    return requests.get(f"{server.url}/v1/me", cookies=cookies, timeout=30)


def test_a_person_signs_in_with_chromium(provider: IdentityProvider, server: Gateway, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    assert chromium, "chromium is missing: cargo xtask setup"
    pictures = Path(os.environ.get("RINGFENCE_PICTURES", tmp_path))
    asked = {
        "url": server.url,
        "user": "french-user",
        "password": PASSWORD,
        "chromium": chromium,
        "picture": str(pictures / "oidc"),
    }
    command = ["node", str(provider.home / "browser.mjs"), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, timeout=180, cwd=provider.home, check=False)
    assert done.returncode == 0, done.stderr.decode()
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["steps"][0] == f"{server.url}/login?return_to=%2Fv1%2Fme"
    assert said["steps"][1].startswith(f"{provider.issuer}/interaction/")
    assert said["steps"][2] == f"{server.url}/v1/me", "back where it wanted to go"
    shown = json.loads(said["shown"])
    assert (shown["id"], shown["data_roles"]) == ("french-user", ["ROLE_FRANCE"])
    cookies = {cookie["name"]: cookie for cookie in said["cookies"]}
    assert cookies[COOKIE]["httpOnly"]
    assert cookies[COOKIE]["sameSite"] == "Lax"
    assert JOURNEY not in cookies, "the journey is over"
    for part in ("page", "provider", "signed-in"):
        assert (pictures / f"oidc-{part}.png").stat().st_size > 1000


def test_what_is_asked_of_the_provider(provider: IdentityProvider, server: Gateway) -> None:
    first, second = (
        requests.get(f"{server.url}/login/oidc/corporate", allow_redirects=False, timeout=30)
        for _ in range(2)
    )
    assert first.status_code == 302
    query = parse_qs(urlsplit(first.headers["location"]).query)
    assert query["response_type"] == ["code"]
    assert query["code_challenge_method"] == ["S256"]
    assert query["redirect_uri"] == [f"{server.url}/login/oidc/corporate/callback"]
    other = parse_qs(urlsplit(second.headers["location"]).query)
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name][0]) >= 43
        assert query[name] != other[name]
    cookie = first.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Max-Age=600" in cookie
    # The address of a request is nobody's to choose.
    forged = requests.get(
        f"{server.url}/login/oidc/corporate",
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example"},
        allow_redirects=False,
        timeout=30,
    )
    assert parse_qs(urlsplit(forged.headers["location"]).query)["redirect_uri"] == query["redirect_uri"]
    nobody = requests.get(f"{server.url}/login/oidc/elsewhere", allow_redirects=False, timeout=30)
    assert nobody.status_code == 404


@pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example", "/\\evil.example", "/login"])
def test_nothing_leads_away(provider: IdentityProvider, server: Gateway, place: str) -> None:
    start = f"{server.url}/login/oidc/corporate?{urlencode({'return_to': place})}"
    browser = signed_in(server, provider, "parisian-user", start)
    assert browser.cookies.get(COOKIE)
    assert urlsplit(browser.get(f"{server.url}/v1/me", timeout=30).url).netloc == f"127.0.0.1:{server.port}"


def callback_of(server: Gateway, provider: IdentityProvider, browser: requests.Session) -> str:
    """The address that the provider sends the browser back to, not yet gone to."""
    answer = browser.get(f"{server.url}/login/oidc/corporate", timeout=30)
    if not answer.url.startswith(provider.issuer):
        pytest.fail(f"not at the provider but at {answer.url}")
    location = answer.url
    for field in ("login", "consent"):
        form = {"prompt": field, "login": "global-user", "password": PASSWORD}
        answer = browser.post(location, data=form, timeout=30, allow_redirects=False)
        while True:
            location = urljoin(answer.url, answer.headers["location"])
            if location.startswith(server.url) or "/interaction/" in location:
                break
            answer = browser.get(location, timeout=30, allow_redirects=False)
    assert location.startswith(f"{server.url}/login/oidc/corporate/callback?"), location
    return location


def test_only_the_browser_that_left_comes_back(provider: IdentityProvider, server: Gateway) -> None:
    def refused(address: str, cookies: dict[str, str]) -> None:
        answer = requests.get(address, cookies=cookies, allow_redirects=False, timeout=30)
        assert answer.status_code == 401, (address, answer.status_code)
        assert COOKIE not in answer.cookies
        assert "Try again" in answer.text or "try again" in answer.text

    browser = requests.Session()
    address = callback_of(server, provider, browser)
    journey = browser.cookies.get(JOURNEY)
    assert journey
    another = requests.get(f"{server.url}/login/oidc/corporate", allow_redirects=False, timeout=30)
    refused(address, {})
    refused(address, {JOURNEY: another.cookies[JOURNEY]})
    refused(address, {JOURNEY: f"{journey}x"})
    parts = parse_qs(urlsplit(address).query)
    query = {name: values[0] for name, values in parts.items()}
    bare = address.split("?")[0]
    state = query["state"].split(".")
    later = ".".join([str(int(state[0]) + 1000), *state[1:]])
    for changes in (
        {"state": later},
        {"state": ""},
        {"iss": "https://elsewhere.example"},
        {"code": "made-up"},
        {"code": ""},
    ):
        refused(f"{bare}?{urlencode({**query, **changes})}", {JOURNEY: journey})
    refused(f"{address}&state=second", {JOURNEY: journey})
    refused(f"{bare}?error=access_denied&state={query['state']}", {JOURNEY: journey})
    # The provider gives a code up that was tried with something else: another journey for the good end.
    browser = requests.Session()
    address = callback_of(server, provider, browser)
    answer = browser.get(address, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    secret = browser.cookies.get(COOKIE)
    assert me(server, secret).json()["id"] == "global-user"
    # A code is good once.
    refused(address, {JOURNEY: journey})


def logout_token(provider: IdentityProvider, **changes: Any) -> str:
    good = provider.good_token()
    now = int(time.time())
    claims = {
        "iss": provider.issuer,
        "aud": "shop",
        "sub": "french-user",
        "iat": now,
        "exp": now + 120,
        "jti": "j",
        "events": {BACK_CHANNEL: {}},
        **changes,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    header = {**good["header"], "typ": "logout+jwt"}
    return provider.signed([{"header": header, "claims": claims, "sign": changes.get("sign", "own")}])[0]


def test_the_provider_signs_people_out(provider: IdentityProvider, server: Gateway) -> None:
    browser = signed_in(server, provider, "french-user", f"{server.url}/login/oidc/corporate")
    secret = browser.cookies.get(COOKIE)
    assert me(server, secret).json()["id"] == "french-user"
    url = f"{server.url}/login/oidc/corporate/back-channel"

    def tell(token: str) -> int:
        return requests.post(url, data={"logout_token": token}, timeout=30).status_code

    good = provider.good_token()
    bad = [
        logout_token(provider, events=None),
        logout_token(provider, events={"other": {}}),
        logout_token(provider, nonce="n"),
        logout_token(provider, aud="other-app"),
        logout_token(provider, iss="https://elsewhere.example"),
        logout_token(provider, sub=None),
        logout_token(provider, exp=1),
        logout_token(provider, iat=int(time.time()) - 3600),
        provider.signed([{**good, "sign": "foreign"}])[0],
        provider.signed([good])[0],
        "",
    ]
    for token in bad:
        assert tell(token) == 400
    assert tell(logout_token(provider, sub="parisian-user")) == 200
    assert me(server, secret).status_code == 200, "somebody else was meant"
    assert tell(logout_token(provider)) == 200
    assert me(server, secret).status_code == 401


def test_who_signs_out_here_signs_out_there(provider: IdentityProvider, server: Gateway) -> None:
    browser = signed_in(server, provider, "french-user", f"{server.url}/login/oidc/corporate")
    secret = browser.cookies.get(COOKIE)
    headers = {"Accept": "text/html", "Origin": server.url}
    left = browser.post(f"{server.url}/logout", headers=headers, allow_redirects=False, timeout=30)
    assert left.status_code == 303
    assert left.headers["location"].startswith(f"{provider.issuer}/session/end?client_id=shop&post_logout")
    assert me(server, secret).status_code == 401

"""What somebody tries who has no right to: each of these has to fail."""

import re
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from gateway import ADMIN_KEY, Gateway
from throwaway_postgres import Postgres

from signin.company import cookie_of, gateway, make_database, sign_in, whoami

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
MORE = 'base_domain = "data.example.com"\ntenant_header = "X-Company"\ncompany_field = "company"\n'
OF_FOO = "$pbkdf2-sha256$29000$5ry31vofg7CWkhJCSClFKA$i01NZ9cAJCAYlXQCY2AXmcmJfe8eD5vZMDOy0h8tH2U"


@pytest.fixture(scope="module")
def direct(postgres: Postgres) -> Iterator[Gateway]:
    """Nobody in front of it is trusted."""
    make_database(postgres)
    with gateway(postgres, MORE) as running:
        yield running


@pytest.fixture(scope="module")
def proxied(postgres: Postgres, direct: Gateway) -> Iterator[Gateway]:
    """The peer is a trusted proxy."""
    assert direct
    # Few, so that guesses come faster than shares come back where hashing is slow.
    fewer = MORE + "failures_per_address = 20\n"
    with gateway(postgres, fewer, 'trusted_proxies = ["127.0.0.1"]') as running:
        yield running


def test_a_planted_session_is_not_signed_in(direct: Gateway) -> None:
    planted = cookie_of(sign_in(direct, "user_2"))
    form = {"uname": "user_1", "passwd": "foo"}
    answer = requests.post(f"{direct.url}/login", data=form, cookies=planted, timeout=30)
    own = cookie_of(answer)
    assert own != planted
    assert whoami(direct, planted).status_code == 401
    assert whoami(direct, own).json()["id"] == "user_1"


def test_a_tampered_cookie_is_nobody(direct: Gateway) -> None:
    cookie = cookie_of(sign_in(direct))["ringfence-session"]
    refusals = set()
    for tampered in [cookie[:-1], cookie + "x", cookie.swapcase(), "", "rfs_", ADMIN_KEY, "x" * 5000]:
        answer = whoami(direct, {"ringfence-session": tampered})
        assert answer.status_code == 401, tampered
        refusals.add(answer.json()["detail"])
    twice = {"Cookie": f"ringfence-session={cookie}; ringfence-session={cookie}"}
    answer = requests.get(f"{direct.url}/v1/me", headers=twice, timeout=30)
    assert answer.status_code == 401
    assert refusals | {answer.json()["detail"]} == {"the session has ended: sign in again"}
    # A session's secret is no access key, and none of it is written into an answer.
    bearer = {"Authorization": f"Bearer {cookie}"}
    assert requests.get(f"{direct.url}/v1/me", headers=bearer, timeout=30).status_code == 401


def test_another_site_changes_nothing(direct: Gateway) -> None:
    cookies = cookie_of(sign_in(direct))
    host = f"127.0.0.1:{direct.port}"
    url = f"{direct.url}/v1/keys"
    for headers in [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://{host}.evil.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": f"http://{host}"},
    ]:
        answer = requests.post(url, json={"name": "stolen"}, cookies=cookies, headers=headers, timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (403, "CROSS_SITE_REQUEST"), headers
        left = requests.post(f"{direct.url}/logout", cookies=cookies, headers=headers, timeout=30)
        assert left.status_code == 403
        assert (
            sign_in(direct, **{name.replace("-", "_"): value for name, value in headers.items()}).status_code
            == 403
        )
        # Reading is no change, and what the answer says stays with the browser.
        assert requests.get(f"{direct.url}/v1/me", cookies=cookies, headers=headers, timeout=30).ok
    assert requests.get(url, cookies=cookies, timeout=30).json()["items"] == []
    own = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{host}"}
    answer = requests.post(url, json={"name": "own"}, cookies=cookies, headers=own, timeout=30)
    assert answer.status_code == 201, answer.text


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


def test_the_form_needs_its_own_token(direct: Gateway) -> None:
    page = requests.get(f"{direct.url}/login?return_to=%2Fdocs", headers=BROWSER, timeout=30)
    form = {"username": "user_1", "password": "foo", "return_to": hidden(page.text, "return_to")}
    token = hidden(page.text, "form_token")
    sent = BROWSER | {"Sec-Fetch-Site": "same-origin"}

    def post(cookies: dict[str, str], **more: str) -> requests.Response:
        return requests.post(
            f"{direct.url}/login",
            data=form | more,
            cookies=cookies,
            headers=sent,
            timeout=30,
            allow_redirects=False,
        )

    form_cookie = {"ringfence-form": page.cookies["ringfence-form"]}
    for refused in [
        post({}),
        post(form_cookie),
        post({}, form_token=token),
        post(form_cookie, form_token="x"),
    ]:
        assert refused.status_code == 403
        assert "ringfence-session" not in refused.cookies
    signed_in = post(form_cookie, form_token=token)
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/docs")
    attributes = signed_in.headers["set-cookie"]
    assert "HttpOnly" in attributes
    assert "SameSite=Lax" in attributes
    assert "Path=/" in attributes
    wrong = post(form_cookie, form_token=token, password="wrong")
    assert wrong.status_code == 401
    assert 'role="alert"' in wrong.text


def test_signing_in_leads_nowhere_else(direct: Gateway) -> None:
    for place in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "/login",
        "x",
    ]:
        form = {"uname": "user_1", "passwd": "foo", "return_to": place}
        answer = requests.post(
            f"{direct.url}/login", data=form, headers=BROWSER, timeout=30, allow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/"), place
        page = requests.get(f"{direct.url}/login", params={"return_to": place}, headers=BROWSER, timeout=30)
        assert hidden(page.text, "return_to") == "/", place


def test_a_person_is_led_to_the_page_and_a_program_is_told(direct: Gateway) -> None:
    def ask(**headers: str) -> requests.Response:
        return requests.get(f"{direct.url}/v1/me?", headers=headers, timeout=30, allow_redirects=False)

    led = ask(**BROWSER)
    assert (led.status_code, led.headers["location"]) == (302, "/login?return_to=%2Fv1%2Fme")
    ended = ask(Cookie="ringfence-session=rfs_ended", **BROWSER)
    assert ended.status_code == 302
    told = ask(Accept="application/json")
    assert told.status_code == 401
    assert told.headers["www-authenticate"] == "Bearer"
    # Who presents something on purpose hears what is wrong with it.
    assert ask(Authorization="Bearer wrong", **BROWSER).status_code == 401
    evil = requests.get(f"{direct.url}//evil.example/", headers=BROWSER, timeout=30, allow_redirects=False)
    assert "evil" not in evil.headers.get("location", "")


def test_the_page_is_closed(direct: Gateway) -> None:
    page = requests.get(f"{direct.url}/login", headers=BROWSER, timeout=30)
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["x-frame-options"] == "DENY"
    assert "<script" not in page.text
    assert 'lang="en"' in page.text
    assert 'for="password"' in page.text


def test_another_tenants_address_is_a_wrong_password(direct: Gateway) -> None:
    wrong = sign_in(direct, password="wrong").json()
    for host in [
        "company2.data.example.com",
        "company1.company2.data.example.com",
        "company1.evil.example",
        "evil.example",
        "company1.data.example.com.evil.example",
    ]:
        answer = sign_in(direct, Host=host)
        assert answer.status_code == 401, host
        assert answer.json()["detail"] == wrong["detail"]
        assert answer.json()["code"] == wrong["code"]
    for host in [
        "company1.data.example.com",
        "COMPANY1.data.example.com:443",
        "data.example.com",
        "127.0.0.1",
    ]:
        assert sign_in(direct, Host=host).status_code == 200, host


def test_a_company_must_be_ones_own(direct: Gateway) -> None:
    for company, status in [("company1", 200), ("company2", 401), ("nowhere", 401), ("", 200)]:
        form = {"uname": "user_1", "passwd": "foo", "company": company}
        assert requests.post(f"{direct.url}/login", data=form, timeout=30).status_code == status, company


def test_a_session_opens_nothing_at_another_tenants_address(direct: Gateway) -> None:
    cookies = cookie_of(sign_in(direct, Host="company1.data.example.com"))
    assert whoami(direct, cookies, Host="company1.data.example.com").ok
    for host in ["company2.data.example.com", "evil.example", "company1.evil.example"]:
        assert whoami(direct, cookies, Host=host).status_code == 401, host


def test_forged_headers_of_a_proxy_are_not_believed(direct: Gateway, proxied: Gateway) -> None:
    own, other = "company1.data.example.com", "company2.data.example.com"
    # Whoever is asked directly goes by the host that was asked, whatever the headers say.
    cookies = cookie_of(sign_in(direct, Host=own))
    assert whoami(direct, cookies, Host=other, X_Forwarded_Host=own).status_code == 401
    assert whoami(direct, cookies, Host=own, X_Forwarded_Host=other, X_Company="company2").ok
    # Behind a proxy it is the other way round.
    cookies = cookie_of(sign_in(proxied, Host="internal", X_Forwarded_Host=own))
    assert whoami(proxied, cookies, Host="internal", X_Forwarded_Host=own).ok
    for forged in [other, f"{own}, {other}", f"{other}, {own}", "evil.example"]:
        assert whoami(proxied, cookies, Host=own, X_Forwarded_Host=forged).status_code == 401, forged
    # All that is said must agree.
    for header, status in [("company1", 200), ("company2", 401), ("company1, company2", 401)]:
        answer = whoami(proxied, cookies, X_Forwarded_Host=own, X_Company=header)
        assert answer.status_code == status, header


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{password}".encode()).decode()}


def test_technical_users_have_passwords_that_nobody_reads(direct: Gateway) -> None:
    direct.call("POST", "users", {"id": "technical-user"})
    path = "security/basic-credentials/technical-user"

    def ask(password: str) -> int:
        headers = basic("technical-user", password)
        return requests.get(f"{direct.url}/v1/me", headers=headers, timeout=30).status_code

    assert ask("changeit") == 401
    direct.call("PUT", path, {"password": "changeit"})
    assert [ask("changeit"), ask("changeit"), ask("changeit!")] == [200, 200, 401]
    listed = direct.call("GET", "security/basic-credentials", None)["items"]
    assert [set(item) for item in listed] == [{"name", "org", "changed_at"}]
    direct.call("PUT", path, {"password": "another one"})
    assert [ask("changeit"), ask("another one")] == [401, 200], "at once"
    # As passlib made it; signing in makes it argon2id, and the password stays what it is.
    direct.call("PUT", path, {"hash": OF_FOO})
    assert [ask("another one"), ask("foo"), ask("foo")] == [401, 200, 200]
    assert "was upgraded to argon2id" in direct.log()
    direct.call("DELETE", path, None)
    assert ask("foo") == 401
    for wrong in [{}, {"password": "short"}, {"hash": "foo"}, {"password": "long enough", "hash": OF_FOO}]:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        answer = requests.put(f"{direct.url}/v1/{path}", json=wrong, headers=headers, timeout=30)
        assert answer.status_code == 400, wrong
        assert OF_FOO not in answer.text


def test_roles_that_are_granted_by_hand(direct: Gateway) -> None:
    cookies = cookie_of(sign_in(direct))
    path = "security/individual-roles/user_1"
    assert direct.call("PUT", path, {"roles": ["ROLE_FRANCE"]})["roles"] == ["ROLE_FRANCE"]
    assert whoami(direct, cookies).json()["data_roles"] == ["ROLE_FRANCE"]
    assert direct.call("GET", "security/individual-roles", None)["items"] == [
        {"user": "user_1", "roles": ["ROLE_FRANCE"]}
    ]
    direct.call("PUT", path, {"roles": []})
    assert whoami(direct, cookies).json()["data_roles"] == []


def test_a_technical_user_asks_who_it_is(direct: Gateway) -> None:
    """Document 002's last steps: credentials, a role, an endpoint, and the answer."""
    if not knows(direct, "technical-user"):
        direct.call("POST", "users", {"id": "technical-user"})
    direct.call("PUT", "security/basic-credentials/technical-user", {"password": "changeit"})
    direct.call("PUT", "security/individual-roles/technical-user", {"roles": ["ROLE_USER"]})
    direct.call(
        "PUT",
        "endpoints/whoami",
        {"name": "whoami", "path": "/atoti/pyapi/whoami", "method": "GET", "builtin": "whoami"},
    )
    url = f"{direct.url}/atoti/pyapi/whoami"
    answer = requests.get(url, headers=basic("technical-user", "changeit"), timeout=30)
    assert answer.json() == {"name": "technical-user", "roles": ["ROLE_USER"]}
    wrong = requests.get(url, headers=basic("technical-user", "changeit!"), timeout=30)
    nobody = requests.get(url, timeout=30)
    assert [wrong.status_code, nobody.status_code] == [401, 401]
    assert nobody.headers["WWW-Authenticate"]
    browser = requests.get(url, headers={"Accept": "text/html"}, allow_redirects=False, timeout=30)
    assert browser.status_code == 302
    assert browser.headers["Location"].startswith("/login")


def knows(gateway: Gateway, user: str) -> bool:
    """Whether there is such a user."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    return requests.get(f"{gateway.url}/v1/users/{user}", headers=headers, timeout=30).ok


def test_guessing_is_slowed_down(proxied: Gateway) -> None:
    own = "company1.data.example.com"

    def guess(user: str, address: str) -> int:
        return sign_in(proxied, user, "guess", X_Forwarded_For=address, X_Forwarded_Host=own).status_code

    assert [guess("user_2", "203.0.113.1") for _ in range(10)] == [401] * 10
    # At once, because shares come back while one waits.
    with ThreadPoolExecutor(20) as guessing:
        assert 429 in guessing.map(lambda _: guess("user_2", "203.0.113.1"), range(40))
    assert guess("user_2", "198.51.100.1") == 429, "from wherever it comes"
    assert guess("nobody", "203.0.113.1") == 401, "another name is another matter"
    with ThreadPoolExecutor(40) as guessing:
        statuses = list(guessing.map(lambda number: guess(f"name-{number}", "203.0.113.1"), range(120)))
    assert 429 in statuses, "an address has its own share"

"""Bearer tokens of a real, certified OpenID provider: JWTs, opaque ones, and many that pretend to be."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from gateway import ADMIN_KEY, Gateway
from polling import wait_for

from oidc.identity_provider import AUDIENCE, IdentityProvider, identity_provider

CORPUS = Path(__file__).parents[3] / "cases" / "oidc" / "tokens.json"

# The role mapping of document 002; `api-user` is what makes somebody a user of the API here.
MAPPING = {
    "user": ["api-user", "ROLE_USER"],
    "atoti": ["api-user", "ROLE_USER"],
    "france": ["ROLE_FRANCE"],
    "paris": ["ROLE_PARIS"],
}


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    with identity_provider() as one:
        yield one


def serve(provider: IdentityProvider, settings: str, directory: Path) -> Gateway:
    """A server that knows the provider, with the company's organization and tenant, and somebody else's."""
    file = directory / "ringfence.toml"
    file.write_text(
        f"""
[[oidc.providers]]
name = "corporate"
issuer = "{provider.issuer}"
client_id = "shop"
client_secret_env = "SHOP_CLIENT_SECRET"
organization = "shops"
tenant_claim = "company"
tenants = {{ "Acme Ltd" = "acme" }}
roles_claims = [["resource_access", "shop", "roles"]]
attributes = {{ region = "region" }}
audiences = ["{AUDIENCE}"]
{settings}
"""
    )
    variables = {"RINGFENCE_CONFIG": str(file), "SHOP_CLIENT_SECRET": provider.secret}
    server = Gateway(settings=variables)
    server.start()
    for org, tenant in (("shops", "acme"), ("rival", "rival-1")):
        server.call("POST", "orgs", {"id": org})
        server.call("POST", "tenants", {"id": tenant, "org": org})
    for role, means in MAPPING.items():
        server.call("PUT", f"security/role-mapping/corporate/{role}", {"means": means})
    return server


@pytest.fixture
def jwt(provider: IdentityProvider, tmp_path: Path) -> Iterator[Gateway]:
    """A server for the provider's JWTs."""
    server = serve(provider, 'algorithms = ["RS256", "ES256", "EdDSA", "PS256"]', tmp_path)
    yield server
    server.close()


@pytest.fixture
def opaque(provider: IdentityProvider, tmp_path: Path) -> Iterator[Gateway]:
    """A server for its opaque tokens."""
    server = serve(provider, 'access_token_format = "opaque"\nopaque_cache = "1s"', tmp_path)
    yield server
    server.close()


def present(server: Gateway, token: str, path: str = "me") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.get(f"{server.url}/v1/{path}", headers=headers, timeout=30)


def me(server: Gateway, token: str) -> dict[str, Any]:
    answer = present(server, token)
    assert answer.status_code == 200, answer.text
    said: dict[str, Any] = answer.json()
    return said


def without_trace(answer: requests.Response) -> tuple[int, dict[str, Any]]:
    said = answer.json()
    assert said.pop("trace_id")
    return answer.status_code, said


REFUSED = "TOKEN_INVALID"


def check_users_of_document_002(server: Gateway, tokens: dict[str, str]) -> None:
    expected = {
        "global-user": ["ROLE_USER"],
        "french-user": ["ROLE_FRANCE", "ROLE_USER"],
        "parisian-user": ["ROLE_PARIS", "ROLE_USER"],
    }
    for name, data_roles in expected.items():
        said = me(server, tokens[name])
        assert (said["id"], said["tenant"], said["org"]) == (name, "acme", "shops")
        assert (said["roles"], said["data_roles"]) == (["api-user"], data_roles)
        user = server.call("GET", f"users/{name}", None)
        assert user["outside"]["source"] == "corporate"
        assert user["outside"]["data_roles"] == data_roles


def test_jwts_of_document_002(provider: IdentityProvider, jwt: Gateway) -> None:
    tokens = {name: provider.password_token(name, jwt=True) for name in provider.users}
    check_users_of_document_002(jwt, tokens)
    # The audit log has the user, and nobody's token.
    log = jwt.log()
    assert not any(token in log for token in tokens.values())
    assert provider.secret not in log


def test_opaque_tokens_of_document_002(provider: IdentityProvider, opaque: Gateway) -> None:
    tokens = {name: provider.password_token(name, jwt=False) for name in provider.users}
    assert all("." not in token for token in tokens.values()), "the provider's opaque tokens are JWTs"
    check_users_of_document_002(opaque, tokens)


def filled(value: Any, known: dict[str, Any]) -> Any:
    """With what the placeholders stand for."""
    if isinstance(value, dict):
        return {name: filled(one, known) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, known) for one in value]
    if not isinstance(value, str):
        return value
    if moment := re.fullmatch(r"\$now([+-]\d+)", value):
        return known["now"] + int(moment[1])
    if many := re.fullmatch(r"\$list\*(\d+)", value):
        return ["r"] * int(many[1])
    value = re.sub(r"\$(.)\*(\d+)", lambda found: found[1] * int(found[2]), value)
    for name in ("kid", "issuer", "audience"):
        value = value.replace(f"${name.upper()}", str(known[name]).upper()).replace(f"${name}", known[name])
    return value


def corpus(provider: IdentityProvider) -> list[tuple[str, str]]:
    """(name, token) of every case."""
    good = provider.good_token()
    claims = good["claims"]
    known = {
        "kid": provider.key["kid"],
        "issuer": provider.issuer,
        "audience": AUDIENCE,
        "now": claims["iat"],
    }
    cases = json.loads(CORPUS.read_text())["cases"]
    made = []
    for case in cases:
        if "raw" in case:
            made.append({"raw": filled(case["raw"], known)})
            continue
        header = {**good["header"], **filled(case.get("header", {}), known)}
        said = {**claims, **filled(case.get("claims", {}), known)}
        for name in case.get("without_header", []):
            del header[name]
        for name in case.get("without", []):
            del said[name]
        sign = case.get("sign", "own")
        made.append({"header": header, "claims": said, "sign": sign, "mangle": case.get("mangle")})
    return list(zip([case["name"] for case in cases], provider.signed(made), strict=True))


def test_tokens_that_are_not_what_they_seem(provider: IdentityProvider, jwt: Gateway) -> None:
    good = provider.good_token()
    # Else all the others would be refused for nothing.
    assert me(jwt, provider.signed([good])[0])["id"] == "french-user"
    before = jwt.call("GET", "users?org=shops", None), jwt.call("GET", "users?org=rival", None)
    first = without_trace(present(jwt, provider.signed([{**good, "sign": "foreign"}])[0]))
    assert (first[0], first[1]["code"]) == (401, REFUSED)
    cases = corpus(provider)
    assert len(cases) > 100
    for name, token in cases:
        assert without_trace(present(jwt, token)) == first, name
    after = jwt.call("GET", "users?org=shops", None), jwt.call("GET", "users?org=rival", None)
    assert after == before, "nobody is made, moved or given anything on the way"
    assert me(jwt, provider.signed([good])[0])["id"] == "french-user"


def test_keys_rotate_without_a_restart(provider: IdentityProvider, jwt: Gateway) -> None:
    old = provider.password_token("french-user", jwt=True)
    assert me(jwt, old)["id"] == "french-user"
    provider.rotate("second")
    new = provider.password_token("parisian-user", jwt=True)
    assert me(jwt, new)["id"] == "parisian-user"
    # Ids of keys that don't exist make no more requests than a few, whoever sends how many.
    asked = len(provider.asked())
    good = provider.good_token()
    unknown = [
        {**good, "header": {**good["header"], "kid": f"k{number}"}, "sign": "foreign"} for number in range(50)
    ]
    for token in provider.signed(unknown):
        assert present(jwt, token).status_code == 401
    assert len(provider.asked()) - asked <= 4
    assert me(jwt, provider.password_token("global-user", jwt=True))["id"] == "global-user"


def test_a_provider_that_is_gone(provider: IdentityProvider, jwt: Gateway, tmp_path: Path) -> None:
    known = provider.password_token("french-user", jwt=True)
    assert me(jwt, known)["id"] == "french-user"
    fresh = provider.signed([provider.good_token()])[0]
    provider.stop()
    try:
        assert me(jwt, known)["id"] == "french-user"
        assert me(jwt, fresh)["id"] == "french-user", "the keys are known"
        good = provider.good_token()
        unknown = provider.signed([{**good, "header": {**good["header"], "kid": "third"}}])[0]
        assert present(jwt, unknown).json()["code"] == REFUSED
        # A server that never read the keys believes nobody.
        other = tmp_path / "other"
        other.mkdir()
        stranger = serve(provider, "", other)
        try:
            assert present(stranger, known).json()["code"] == REFUSED
            assert present(stranger, ADMIN_KEY).status_code == 200
        finally:
            stranger.close()
    finally:
        provider.start()


def test_what_the_provider_takes_away_goes(provider: IdentityProvider, jwt: Gateway) -> None:
    provider.put_user("mobile", ["atoti", "france", "paris"], region="eu")
    old = provider.password_token("mobile", jwt=True)
    assert me(jwt, old)["data_roles"] == ["ROLE_FRANCE", "ROLE_PARIS", "ROLE_USER"]
    user = jwt.call("GET", "users/mobile", None)
    assert user["variables"] == {"region": "eu"}
    by_hand = [*user["data_roles"], "ROLE_AUDIT"]
    jwt.call("PATCH", "users/mobile", {"data_roles": by_hand})
    assert me(jwt, old)["data_roles"] == sorted(by_hand)

    good = provider.good_token()
    later = {**good["claims"], "sub": "mobile", "preferred_username": "mobile"}
    later["iat"] += 1
    later["resource_access"] = {"shop": {"roles": ["atoti", "paris"]}}
    new = provider.signed([{**good, "claims": later}])[0]
    remaining = ["ROLE_AUDIT", "ROLE_PARIS", "ROLE_USER"]
    wait_for("the later token to count", lambda: present(jwt, new).status_code == 200)
    wait_for("the role to be gone", lambda: me(jwt, new)["data_roles"] == remaining)
    assert me(jwt, old)["data_roles"] == remaining, "an older token brings nothing back"
    assert jwt.call("GET", "users/mobile", None)["variables"] is None

    # What a role means changes for those who are here already.
    jwt.call("PUT", "security/role-mapping/corporate/paris", {"means": ["ROLE_SEINE"]})
    assert me(jwt, new)["data_roles"] == ["ROLE_AUDIT", "ROLE_SEINE", "ROLE_USER"]
    jwt.call("DELETE", "security/role-mapping/corporate/paris", None)
    assert me(jwt, new)["data_roles"] == ["ROLE_AUDIT", "ROLE_USER"]
    listed = jwt.call("GET", "security/role-mapping/corporate", None)["items"]
    assert [one["role"] for one in listed] == ["atoti", "france", "user"]


def test_who_is_disabled_stays_out(provider: IdentityProvider, jwt: Gateway) -> None:
    token = provider.password_token("french-user", jwt=True)
    assert me(jwt, token)["id"] == "french-user"
    jwt.call("PATCH", "users/french-user", {"disabled": True})
    refused = present(jwt, token)
    assert (refused.status_code, refused.json()["code"]) == (401, REFUSED)
    assert present(jwt, provider.password_token("french-user", jwt=True)).json()["code"] == REFUSED
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    kept = requests.delete(f"{jwt.url}/v1/users/french-user", headers=headers, timeout=30)
    assert (kept.status_code, kept.json()["code"]) == (409, "IN_USE")
    jwt.call("PATCH", "users/french-user", {"disabled": False})
    assert me(jwt, token)["id"] == "french-user"


def test_nobody_becomes_somebody_else(provider: IdentityProvider, jwt: Gateway) -> None:
    taken = {"id": "taken", "tenant": "acme", "org": "shops", "roles": ["org-admin-user"]}
    jwt.call("POST", "users", taken)
    before = jwt.call("GET", "users/taken", None)
    provider.put_user("taken", ["atoti"])
    token = provider.password_token("taken", jwt=True)
    assert present(jwt, token).json()["code"] == REFUSED
    assert jwt.call("GET", "users/taken", None) == before
    # No mapping gives more than the source may: `api-user` here.
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    url = f"{jwt.url}/v1/security/role-mapping/corporate/atoti"
    above = requests.put(url, json={"means": ["org-admin-user"]}, headers=headers, timeout=30)
    assert (above.status_code, above.json()["code"]) == (400, "INVALID_REQUEST")
    # Who has no role here that lets them use it may not.
    provider.put_user("guest", ["unmapped"])
    refused = present(jwt, provider.password_token("guest", jwt=True))
    assert (refused.status_code, refused.json()["code"]) == (403, "NOT_PERMITTED")


def test_an_opaque_token_ends(provider: IdentityProvider, opaque: Gateway) -> None:
    token = provider.password_token("french-user", jwt=False)
    assert me(opaque, token)["id"] == "french-user"
    provider.revoke(token)
    wait_for("the answer about it to be old", lambda: present(opaque, token).status_code == 401)
    assert present(opaque, token).json()["code"] == REFUSED


def test_an_opaque_token_is_for_one_application(provider: IdentityProvider, opaque: Gateway) -> None:
    assert me(opaque, provider.password_token("french-user", jwt=False))["id"] == "french-user"
    other = provider.password_token("french-user", jwt=False, client="other-app")
    assert present(opaque, other).json()["code"] == REFUSED


def test_no_access_key_is_shown_to_a_provider(provider: IdentityProvider, opaque: Gateway) -> None:
    key = opaque.call("POST", "keys", {"name": "second"})["secret"]
    assert key.startswith("rf_")
    before = len(provider.asked())
    assert present(opaque, key).status_code == 200
    opaque.call("DELETE", "keys/second", None)
    assert present(opaque, key).json()["code"] == "KEY_UNKNOWN"
    assert present(opaque, ADMIN_KEY).status_code == 200
    assert len(provider.asked()) == before
    # What is repeated is not asked about again and again.
    for _ in range(5):
        assert present(opaque, "made-up").status_code == 401
    asked = [one for one in provider.asked()[before:] if one.get("token") == "made-up"]
    assert len(asked) == 1

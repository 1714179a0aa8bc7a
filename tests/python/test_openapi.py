"""What /openapi.json promises, held against the server by schemathesis: no 5xx, nothing undocumented."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests
from gateway import ADMIN_KEY, FAST, Gateway

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]

# Enough for the covering cases of each operation and some random ones; two runs stay under five minutes.
EXAMPLES = 5 if FAST else 25
PHASES = "examples,coverage" if FAST else "examples,coverage,fuzzing"

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture(scope="module")
def document(ringfence: Gateway) -> Any:
    answer = requests.get(f"{ringfence.url}/openapi.json", timeout=10)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    return answer.json()


@pytest.fixture(scope="module")
def api_user_key(ringfence: Gateway) -> str:
    """A key of somebody who may do little, so that refusals are seen too."""
    for endpoint, body in [
        ("create-org", {"organization": {"id": "openapi-org", "name": "O"}}),
        ("create-tenant", {"tenant": {"id": "openapi-tenant", "name": "T", "org_id": "openapi-org"}}),
        ("create-user", {"user": {"id": "openapi-user", "tenant_id": "openapi-tenant"}}),
    ]:
        answer = ringfence.post(endpoint, body)
        assert answer.status_code == 200, answer.text
    made = ringfence.post("create-key", {"name": "default"}, x_waii_impersonate_user="openapi-user")
    key: str = made.json()["access_keys"][0]["access_key"]
    return key


def operations(document: Any) -> list[tuple[str, str, Any]]:
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def test_the_document_is_whole(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    listed = operations(document)
    assert listed
    names = [operation.get("operationId") for _, _, operation in listed]
    assert None not in names
    assert len(set(names)) == len(names)


def test_every_operation_documents_its_refusals(document: Any) -> None:
    """Problem details for each refusal, as RFC 9457 says."""
    for method, path, operation in operations(document):
        refusals = {
            status: reply for status, reply in operation["responses"].items() if status.startswith(("4", "5"))
        }
        assert refusals, f"{method} {path} documents no refusal"
        for status, reply in refusals.items():
            if "$ref" in reply:
                reply = document["components"]["responses"][reply["$ref"].rsplit("/", 1)[1]]
            kinds = set(reply.get("content", {}))
            assert kinds <= {"application/problem+json"}, f"{method} {path} {status}: {kinds}"


@pytest.mark.parametrize("who", ["super admin", "api user", "nobody"])
def test_conformance(
    ringfence: Gateway, api_user_key: str, who: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    key = {"super admin": ADMIN_KEY, "api user": api_user_key, "nobody": "no-such-key"}[who]
    command = [str(Path(sys.executable).parent / "schemathesis"), "--no-color", "run"]
    command += [f"{ringfence.url}/openapi.json", "--header", f"Authorization: Bearer {key}"]
    command += ["--checks", ",".join(CHECKS), "--phases", PHASES if who != "nobody" else "examples"]
    # One worker: `ast`, which hypothesis uses, is not thread-safe in older Pythons (CPython issue 106905).
    command += ["--max-examples", str(EXAMPLES), "--workers", "1", "--request-timeout", "30"]
    command += ["--generation-deterministic", "--no-shrink"]
    command += ["--suppress-health-check", "all", "--warnings", "off", "--continue-on-failure"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, f"{request.node.name}:\n{ran.stdout[-12_000:]}\n{ran.stderr[-2_000:]}"
    # It has not lived on as a ruin.
    assert ringfence.post("ping").status_code == 200

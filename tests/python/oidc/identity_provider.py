"""The certified provider of `provider.mjs`, started on loopback, and tokens of it."""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import requests
from throwaway_server import free_port

HERE = Path(__file__).parent
# Where it is installed, once: beside everything else that is made.
HOME = HERE.parents[2] / "target" / "oidc-provider"
FILES = ("package.json", "package-lock.json", "provider.mjs", "sign.mjs", "browser.mjs")

PASSWORD = "a password of the provider's"
AUDIENCE = "https://data.example.com"

# As in document 002; the company is ours.
USERS: dict[str, Any] = {
    "global-user": {"roles": ["user"]},
    "french-user": {"roles": ["france", "atoti"]},
    "parisian-user": {"roles": ["paris", "atoti"]},
}


def installed() -> Path:
    """The directory of the provider with its packages; installed when it is not up to date."""
    lock = (HERE / "package-lock.json").read_text()
    stamp = HOME / "installed"
    HOME.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        shutil.copy(HERE / name, HOME / name)
    if not stamp.exists() or stamp.read_text() != lock:
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(command, cwd=HOME, check=True, capture_output=True, timeout=300)
        stamp.write_text(lock)
    return HOME


def new_key(kid: str) -> dict[str, str]:
    """A private RSA key of that id."""
    script = (
        "const {generateKeyPairSync} = require('node:crypto');"
        "const {privateKey} = generateKeyPairSync('rsa', {modulusLength: 2048});"
        "console.log(JSON.stringify(privateKey.export({format: 'jwk'})))"
    )
    made = subprocess.run(["node", "-e", script], check=True, capture_output=True, timeout=60)
    key: dict[str, str] = json.loads(made.stdout)
    return {**key, "kid": kid, "use": "sig", "alg": "RS256"}


class IdentityProvider:
    """A running provider. Use it in a `with` block."""

    secret = "a secret of the client"

    def __init__(self, redirects: list[str] | None = None) -> None:
        self.redirects = redirects or ["http://127.0.0.1:1/unused"]
        self.home = installed()
        self.directory = Path(tempfile.mkdtemp(prefix="ringfence-oidc-"))
        self.port = free_port()
        self.key = new_key("first")
        self.users_file = self.directory / "users.json"
        self.log_file = self.directory / "asked.jsonl"
        self.log_file.touch()
        self.users: dict[str, Any] = {}
        for name, user in USERS.items():
            self.put_user(name, user["roles"])
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self) -> None:
        """Starts it with the key of now."""
        settings = {
            "port": self.port,
            "secret": self.secret,
            "jwks": {"keys": [self.key]},
            "algorithm": "RS256",
            "redirects": self.redirects,
            "users": str(self.users_file),
            "log": str(self.log_file),
        }
        file = self.directory / "settings.json"
        file.write_text(json.dumps(settings))
        with (self.directory / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["node", str(self.home / "provider.mjs"), str(file)], stdout=subprocess.PIPE, stderr=log
            )
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line == b"ready\n", (line, (self.directory / "provider.log").read_text())

    def stop(self) -> None:
        """Stops it by its own process id."""
        if self._process:
            self._process.terminate()
            self._process.wait(20)
            if self._process.stdout:
                self._process.stdout.close()
            self._process = None

    def rotate(self, kid: str) -> None:
        """Another key from now on."""
        self.stop()
        self.key = new_key(kid)
        self.start()

    def put_user(self, name: str, roles: list[str], **claims: Any) -> None:
        """What it says of the user from now on."""
        said = {"company": "Acme Ltd", "resource_access": {"shop": {"roles": roles}}, **claims}
        self.users[name] = {"password": PASSWORD, "claims": said}
        self.users_file.write_text(json.dumps(self.users))

    def password_token(self, user: str, *, jwt: bool, client: str = "shop") -> str:
        """An access token for a password."""
        form = {"grant_type": "password", "username": user, "password": PASSWORD}
        if jwt:
            form["resource"] = AUDIENCE
        answer = requests.post(f"{self.issuer}/token", data=form, auth=(client, self.secret), timeout=30)
        assert answer.ok, answer.text
        token: str = answer.json()["access_token"]
        return token

    def revoke(self, token: str) -> None:
        """Takes an opaque token back."""
        form = {"token": token}
        url = f"{self.issuer}/token/revocation"
        answer = requests.post(url, data=form, auth=("shop", self.secret), timeout=30)
        assert answer.ok, answer.text

    def asked(self) -> list[dict[str, Any]]:
        """What it was asked, oldest first."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def good_token(self) -> dict[str, Any]:
        """Header and claims of an access token that is good."""
        now = int(time.time())
        return {
            "header": {"alg": "RS256", "kid": self.key["kid"], "typ": "at+jwt"},
            "claims": {
                "iss": self.issuer,
                "aud": AUDIENCE,
                "sub": "french-user",
                "preferred_username": "french-user",
                "company": "Acme Ltd",
                "resource_access": {"shop": {"roles": ["france", "atoti"]}},
                "client_id": "shop",
                "iat": now,
                "exp": now + 600,
                "jti": "a-token",
            },
            "sign": "own",
        }

    def signed(self, cases: list[dict[str, Any]]) -> list[str]:
        """Tokens as `sign.mjs` makes them."""
        made = subprocess.run(
            ["node", str(self.home / "sign.mjs")],
            input=json.dumps({"key": self.key, "cases": cases}).encode(),
            check=True,
            capture_output=True,
            timeout=60,
        )
        tokens: list[str] = json.loads(made.stdout)
        return tokens


@contextmanager
def identity_provider(redirects: list[str] | None = None) -> Iterator[IdentityProvider]:
    """One, for a fixture. `redirects` is where it may send browsers back to."""
    with IdentityProvider(redirects) as provider:
        yield provider

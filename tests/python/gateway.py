"""The real binary, started as an operator would, and stopped by its process id."""

import os
import shutil
import signal
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import requests
from polling import wait_for
from throwaway_server import free_port

ADMIN_KEY = "abc123"

FAST = os.environ.get("RINGFENCE_FAST") == "1"


def binary() -> Path:
    """The program under test."""
    named = os.environ.get("RINGFENCE_BIN")
    path = Path(named) if named else Path(__file__).parents[2] / "target" / "debug" / "ringfence"
    assert path.exists(), f"{path} is missing: cargo build, or set RINGFENCE_BIN"
    return path


class Gateway:
    """A running `ringfence serve`. Use it in a `with` block, or start and stop it by hand."""

    def __init__(
        self,
        data_dir: Path | None = None,
        settings: dict[str, str] | None = None,
        arguments: list[str] | None = None,
    ) -> None:
        self._own_directory = data_dir is None
        self.data_dir = data_dir or Path(tempfile.mkdtemp(prefix="ringfence-python-"))
        self.settings = settings or {}
        self.arguments = arguments or []
        self.port = free_port()
        self.log_path = Path(tempfile.mkstemp(prefix="ringfence-log-")[1])
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's root."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        """What the SDK takes as its url."""
        return f"{self.url}/api/"

    def __enter__(self) -> "Gateway":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Starts it and waits until it answers."""
        command = [
            str(binary()),
            "serve",
            "--data-dir",
            str(self.data_dir),
            "--listen",
            f"127.0.0.1:{self.port}",
        ]
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment(),
            )
        wait_for("ringfence to be ready", self._answers)

    def stop(self) -> int:
        """Asks it to end, and gives the exit code."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """Ends it as a power failure would."""
        assert self.process
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        """Stops it if it runs, and removes what it left."""
        if self.process and self.process.poll() is None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()
        if self._own_directory:
            shutil.rmtree(self.data_dir, ignore_errors=True)
        self.log_path.unlink(missing_ok=True)

    def log(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text(errors="replace")

    def post(
        self, endpoint: str, body: Any = None, key: str | None = ADMIN_KEY, **headers: str
    ) -> requests.Response:
        """One call without the SDK."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key:
            sent["Authorization"] = f"Bearer {key}"
        return requests.post(f"{self.api}{endpoint}", json=body or {}, headers=sent, timeout=60)

    def call(self, method: str, path: str, body: Any, *, key: str = ADMIN_KEY, acting: str = "") -> Any:
        """A call of ours at /v1/; a refusal is an error of the suite."""
        headers = {"Authorization": f"Bearer {key}"} | ({"x-waii-impersonate-user": acting} if acting else {})
        answer = requests.request(method, f"{self.url}/v1/{path}", json=body, headers=headers, timeout=120)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def wait_for_catalog(self, connection: str, key: str) -> None:
        """Until the connection is indexed; `key` is of somebody who has it."""
        path = f"connections/{quote(connection, safe='')}/status"

        def is_indexed() -> bool:
            state = self.call("GET", path, None, key=key)["status"]
            assert state != "failed", f"the catalog of {connection} could not be read"
            return bool(state == "completed")

        wait_for(f"the catalog of {connection}", is_indexed)

    def connect(self, description: dict[str, Any], key: str) -> str:
        """A connection for the owner of the key, indexed; gives its own key."""
        connection = str(self.call("POST", "connections?validate=true", description, key=key)["key"])
        self.wait_for_catalog(connection, key)
        return connection

    def put_policy(self, connection: str, document: bytes, key: str) -> None:
        """The policy of the connection; `key` is of an administrator who has it."""
        answer = requests.put(
            f"{self.url}/v1/policies/{quote(connection, safe='')}",
            data=document,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/yaml"},
            timeout=30,
        )
        assert answer.ok, f"the policy was refused: {answer.status_code} {answer.text}"

    def command(self, *arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        """Runs another command of the program on the same data directory. `text` is its standard input."""
        return subprocess.run(
            [str(binary()), *arguments, "--data-dir", str(self.data_dir)],
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        # Ours are not the program's: it takes every unknown RINGFENCE_ variable for a misspelt setting.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RINGFENCE_")}
        # A busy machine may need longer than an operator would want to wait for a database.
        patient = {"RINGFENCE_POOLS__CONNECT_TIMEOUT": "60s"}
        return {**inherited, **patient, "RINGFENCE_ADMIN_KEY": ADMIN_KEY, **self.settings}

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"ringfence ended: {self.log()}"
        try:
            return requests.post(f"{self.api}ping", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False


class GatewayWithPeople(ABC):
    """A running server with people, keys and connections in it. Use it in a `with` block."""

    def __init__(self, settings: dict[str, str] | None = None) -> None:
        self.gateway = Gateway(settings=settings)
        # The secrets of people's keys.
        self.keys: dict[str, str] = {}

    def __enter__(self) -> Self:
        self.gateway.start()
        try:
            self._fill()
        except BaseException:
            self.gateway.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.close()

    @abstractmethod
    def _fill(self) -> None:
        """Makes what there is before the first test."""

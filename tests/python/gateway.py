"""The real binary, started as an operator would, and stopped by its process id."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import requests
from polling import wait_for
from throwaway_postgres import free_port

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

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Runs another command of the program on the same data directory."""
        return subprocess.run(
            [str(binary()), *arguments, "--data-dir", str(self.data_dir)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        # Ours are not the program's: it takes every unknown RINGFENCE_ variable for a misspelt setting.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RINGFENCE_")}
        return {**inherited, "RINGFENCE_ADMIN_KEY": ADMIN_KEY, **self.settings}

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, f"ringfence ended: {self.log()}"
        try:
            return requests.post(f"{self.api}ping", timeout=5).status_code == 200
        except requests.ConnectionError:
            return False

"""Crashes and full disks: what was acknowledged stays, and the audit log verifies."""

import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from gateway import ADMIN_KEY, FAST, Gateway
from polling import wait_for

ROUNDS = 15 if FAST else 100
FIRST_STARTS = 5 if FAST else 20


@dataclass
class Acknowledged:
    """What the server said was done, over all rounds."""

    users: list[str] = field(default_factory=list)
    # Each holder's keys, by name: a user may have a hundred.
    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    config: dict[str, int] = field(default_factory=dict)

    def total(self) -> int:
        return len(self.users) + sum(map(len, self.keys.values())) + len(self.config)


def writers(server: Gateway, done: Acknowledged, round_number: int) -> list[Callable[[int], bool]]:
    """Each makes one write, and notes it once it is acknowledged. False when the server has gone."""

    def acknowledged(session: requests.Session, endpoint: str, body: Any) -> Any:
        try:
            answer = session.post(f"{server.api}{endpoint}", json=body, timeout=20)
            body = answer.json()
        except requests.RequestException:
            return None
        assert answer.status_code == 200, answer.text
        return body

    sessions = [requests.Session() for _ in range(3)]
    for session in sessions:
        session.headers["Authorization"] = f"Bearer {ADMIN_KEY}"

    def user(number: int) -> bool:
        user_id = f"user-{round_number}-{number}"
        body = {"user": {"id": user_id, "name": "A", "tenant_id": "my_tenant_id"}}
        if acknowledged(sessions[0], "create-user", body) is None:
            return False
        done.users.append(user_id)
        return True

    holder = f"holder-{round_number}"

    def access_key(number: int) -> bool:
        if number == 0:
            body = {"user": {"id": holder, "name": "A", "tenant_id": "my_tenant_id"}}
            if acknowledged(sessions[1], "create-user", body) is None:
                return False
            done.users.append(holder)
            done.keys[holder] = {}
            sessions[1].headers["x-waii-impersonate-user"] = holder
        made = acknowledged(sessions[1], "create-key", {"name": f"key-{number}"})
        if made is None:
            return False
        done.keys[holder][f"key-{number}"] = made["access_keys"][0]["access_key"]
        return number < 90

    def config(number: int) -> bool:
        entry = f"entry-{round_number}"
        if acknowledged(sessions[2], "update-config", {"updated": {entry: number}}) is None:
            return False
        done.config[entry] = number
        return True

    return [user, access_key, config]


def write_until_it_dies(server: Gateway, done: Acknowledged, round_number: int, seconds: float) -> None:
    """Three clients write at once; then the server is killed in the middle of it."""
    failures: list[BaseException] = []

    def repeat(write: Callable[[int], bool]) -> None:
        number = 0
        try:
            while write(number):
                number += 1
        except BaseException as failure:
            failures.append(failure)

    threads = [
        threading.Thread(target=repeat, args=(write,)) for write in writers(server, done, round_number)
    ]
    for thread in threads:
        thread.start()
    killer = threading.Timer(seconds, server.kill)
    killer.start()
    for thread in threads:
        thread.join(60)
    killer.join(60)
    assert not failures, failures
    assert not any(thread.is_alive() for thread in threads)


def assert_all_there(server: Gateway, done: Acknowledged) -> None:
    users = {user["id"]: user for user in server.post("list-users").json()["users"]}
    assert not [user_id for user_id in done.users if user_id not in users]
    # What was not acknowledged may be there too, but then as a whole.
    for user in users.values():
        assert user["tenant_id"] == "my_tenant_id"
        assert user["roles"]
    for holder, expected in done.keys.items():
        listed = server.post("list-access-keys", x_waii_impersonate_user=holder).json()["access_keys"]
        keys = {key["name"]: key["access_key"] for key in listed}
        assert not [name for name, secret in expected.items() if keys.get(name) != secret]
    config = server.post("update-config").json()["configs"]
    # One more may have been written than was acknowledged.
    wrong = [entry for entry, number in done.config.items() if config.get(entry) not in (number, number + 1)]
    assert not wrong


def assert_audit_is_intact(server: Gateway) -> None:
    verified = server.command("audit", "verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert verified.stdout.startswith("ok: "), verified.stdout


def test_killed_during_writes() -> None:
    chance = random.Random(20_24)
    done = Acknowledged()
    server = Gateway()
    try:
        for round_number in range(ROUNDS):
            server.start()
            if round_number % 10 == 0:
                assert_all_there(server, done)
            write_until_it_dies(server, done, round_number, chance.uniform(0.02, 0.25))
            if round_number % 25 == 0:
                assert_audit_is_intact(server)
        server.start()
        assert_all_there(server, done)
        for holder, keys in done.keys.items():
            for secret in [*keys.values()][-1:]:
                assert server.post("get-user-info", key=secret).json()["id"] == holder
        assert server.stop() == 0
        assert_audit_is_intact(server)
        print(f"{ROUNDS} crashes, {done.total()} acknowledged writes, all there")
        assert done.total() > ROUNDS
    finally:
        server.close()


def test_killed_during_the_first_start(tmp_path: Path) -> None:
    """The data directory, the sealing key and the schema come into being whole, or not at all."""
    chance = random.Random(7)
    for attempt in range(FIRST_STARTS):
        server = Gateway(data_dir=tmp_path / str(attempt))
        starter = threading.Thread(target=start_in_vain, args=(server,))
        starter.start()
        wait_for("the process", partial(getattr, server, "process"), pause=0.001)
        try:
            assert server.process
            server.process.wait(chance.uniform(0.0, 0.12))
        except subprocess.TimeoutExpired:
            server.kill()
        starter.join(60)
        server.start()
        assert server.post("get-user-info").json()["id"] == "my_org_id", server.log()
        server.close()


def start_in_vain(server: Gateway) -> None:
    try:
        server.start()
    except AssertionError:
        assert server.process is not None


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[None]:
    """A file system that is soon full. Skips the test where none can be mounted."""
    path.mkdir()
    if os.geteuid() != 0:
        pytest.skip("a small file system can be mounted by root only")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)],
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system can't be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(path: Path) -> Path:
    """A file that takes all the space that is left."""
    filler = path / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_disk_full(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 24):
        server = Gateway(data_dir=disk / "data")
        try:
            server.start()
            made = [f"before-{number}" for number in range(20)]
            for user_id in made:
                assert make_user(server, user_id).status_code == 200
            filler = fill(disk)
            refused = None
            for number in range(5_000):
                answer = make_user(server, f"full-{number}")
                if answer.status_code != 200:
                    refused = answer
                    break
                made.append(f"full-{number}")
            assert refused is not None, "nothing was refused although the disk is full"
            assert refused.status_code == 503, refused.text
            assert refused.json()["detail"]
            assert "store" in refused.json()["detail"] or "audit" in refused.json()["detail"]
            assert server.post("ping").status_code == 200
            filler.unlink()
            wait_for(
                "writes to work again",
                lambda: make_user(server, "after").status_code in (200, 400),
                seconds=60,
            )
            assert_users(server, [*made, "after"])
            assert server.stop() == 0
            assert_audit_is_intact(server)
            server.start()
            assert_users(server, [*made, "after"])
        finally:
            server.close()


def make_user(server: Gateway, user_id: str) -> requests.Response:
    return server.post("create-user", {"user": {"id": user_id, "tenant_id": "my_tenant_id"}})


def assert_users(server: Gateway, expected: list[str]) -> None:
    there = {user["id"] for user in server.post("list-users").json()["users"]}
    assert not [user_id for user_id in expected if user_id not in there]

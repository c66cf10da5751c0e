"""The lock is what pyproject.toml asks for, and a lock that is not is told by what it lacks."""

import copy
from typing import Any

import pytest
from tools.lock import HEADER, LOCK, complaints, digest, project


@pytest.fixture(scope="module")
def lock() -> str:
    return LOCK.read_text(encoding="utf-8")


def test_the_committed_lock_fits(lock: str) -> None:
    assert list(complaints(lock, project())) == []


def test_every_locked_file_has_a_hash(lock: str) -> None:
    pins = [line for line in lock.splitlines() if "==" in line and not line.startswith((" ", "#"))]
    assert pins
    assert all(pin.endswith("\\") for pin in pins)


def test_a_new_requirement_is_missed(lock: str) -> None:
    given: dict[str, Any] = copy.deepcopy(dict(project()))
    given["project"]["dependencies"].append("left-pad>=1")
    assert list(complaints(lock, given)) == [
        "pyproject.toml asks for other things than when the lock was made",
        "left-pad>=1 is not met: not locked",
    ]


def test_a_version_below_the_required_one_is_told(lock: str) -> None:
    given: dict[str, Any] = copy.deepcopy(dict(project()))
    given["project"]["dependencies"].append("httpx>=99")
    assert any(told.startswith("httpx>=99 is not met: 0.") for told in complaints(lock, given))


def test_an_address_in_the_lock_is_told() -> None:
    given = {
        "project": {"requires-python": ">=3.11", "dependencies": [], "optional-dependencies": {"data": []}},
        "dependency-groups": {"dev": []},
        "build-system": {"requires": []},
    }
    assert list(complaints(f"{HEADER}{digest(given)}\n", given)) == []
    assert list(complaints(f"{HEADER}{digest(given)}\n--find-links file:///wheels\n", given)) == ["it names an address"]

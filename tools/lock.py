"""Write ``requirements.lock`` from ``pyproject.toml``; with ``--check`` tell, without a network, whether it still fits.

The lock holds all that the project needs on every system, its extras and the tools of development included, with the
hashes of the files. Its first line carries a digest of what it was made from.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "requirements.lock"
HEADER: Final = "# Made by `make lock` from pyproject.toml, "
COMPILE: Final = (
    *("pip", "compile", "pyproject.toml", "--all-extras", "--group", "dev", "--universal"),
    *("--python-version", "3.11", "--generate-hashes", "--no-emit-index-url", "--no-header", "--quiet"),
)
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)


def project() -> Mapping[str, Any]:
    """Read ``pyproject.toml``."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements(given: Mapping[str, Any]) -> Iterator[str]:
    """List every direct requirement of the project, of its extras and of its development."""
    yield from given["project"]["dependencies"]
    for extra in given["project"]["optional-dependencies"].values():
        yield from extra
    yield from given["dependency-groups"]["dev"]
    yield from given["build-system"]["requires"]


def digest(given: Mapping[str, Any]) -> str:
    """Return what the lock depends on, as a hash."""
    content = [given["project"]["requires-python"], sorted(requirements(given))]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def complaints(lock: str, given: Mapping[str, Any]) -> Iterator[str]:
    """Say what the lock does not hold that it should."""
    if not lock.startswith(f"{HEADER}{digest(given)}\n"):
        yield "pyproject.toml asks for other things than when the lock was made"
    pinned: dict[str, list[str]] = {}
    for name, version in _PIN.findall(lock):
        pinned.setdefault(canonicalize_name(name), []).append(version)
    for wanted in map(Requirement, requirements(given)):
        versions = pinned.get(canonicalize_name(wanted.name), [])
        if not versions or not all(wanted.specifier.contains(version) for version in versions):
            yield f"{wanted} is not met: {', '.join(versions) or 'not locked'}"
    if "://" in lock or "file:" in lock:
        yield "it names an address"


def write(given: Mapping[str, Any]) -> int:
    """Resolve anew, keeping locked versions that still fit; return the exit code."""
    beside = Path(sys.executable).with_name("uv.exe" if sys.platform == "win32" else "uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        print("uv is needed to make the lock: pip install uv", file=sys.stderr)
        return 1
    code = subprocess.call([uv, *COMPILE, "--output-file", LOCK.name], cwd=ROOT)
    if code == 0:
        body = "".join(line for line in LOCK.open(encoding="utf-8") if not line.startswith(HEADER))
        LOCK.write_text(f"{HEADER}{digest(given)}\n{body}", encoding="utf-8", newline="\n")
    return code


def main() -> int:
    """Write the lock, or check it."""
    if "--check" not in sys.argv[1:]:
        return write(project())
    found = list(complaints(LOCK.read_text(encoding="utf-8"), project()))
    for complaint in found:
        print(f"requirements.lock: {complaint}. Run: make lock", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""Set the checkout up and run its tasks: the same on every system, and with nothing but Python's standard library.

    python tools/house.py setup | demo | test | check | bench | survey | mutants | lock | docs | format

``make TASK`` and ``dtms.cmd TASK`` call this file. What follows a task's name is handed on to its program. It has to
run on an older Python too, far enough to say that a newer one is needed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / ".dtms-setup"
LOCK = ROOT / "requirements.lock"
OLDEST = (3, 11)

CHECKS = {
    "format": ("-m", "ruff", "format", "--check", "--quiet"),
    "lint": ("-m", "ruff", "check", "--quiet"),
    "types": ("-m", "mypy"),
    "layers": ("-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-logo", "--no-cache"),
    "dependencies": ("-m", "deptry", "src"),
    "lock": ("tools/lock.py", "--check"),
    "diagram": ("tools/state_diagram.py", "--check"),
}
"""What ``check`` has Python run, by name."""

TASKS = {
    "setup": (),
    "demo": ("-m", "dtms", "demo"),
    "test": ("-m", "pytest"),
    "check": (),
    "bench": ("-m", "dtms", "bench"),
    "survey": ("-m", "dtms.survey"),
    "mutants": ("tools/mutants.py",),
    "lock": ("tools/lock.py",),
    "docs": ("tools/state_diagram.py",),
    "format": ("-m", "ruff", "format"),
}
"""What each task has Python run; ``setup`` comes before every task, and ``check`` is several."""


class Missing(Exception):
    """Something that the task needs is not here; the message says what, and what to do."""


def find_python() -> str:
    """Return the command of a Python that is new enough: this one, or one on the path."""
    if sys.version_info[:2] >= OLDEST:
        return sys.executable
    for name in ("python3.11", "python3.12", "python3.13", "python3.14"):
        if shutil.which(name) and subprocess.call([name, "-c", ""]) == 0:
            return name
    raise Missing(
        f"Python 3.11 or newer is needed, and this is {sys.version.split()[0]}. Install it (python.org, or your "
        "system's packages), or name it: make PYTHON=/path/to/python3.11"
    )


def fingerprint() -> str:
    """Return what the environment is made from: the lock, the project's own entry, and where it stands."""
    content = LOCK.read_bytes() + (ROOT / "pyproject.toml").read_bytes() + str(ROOT).encode()
    return hashlib.sha256(content).hexdigest()


def setup() -> None:
    """Make the environment and install the locked dependencies, unless that was done already."""
    wanted = fingerprint()
    if PYTHON.exists() and STAMP.exists() and STAMP.read_text(encoding="ascii") == wanted:
        return
    if not PYTHON.exists():
        python = find_python()
        say("making the environment .venv")
        if subprocess.call([python, "-m", "venv", str(VENV)]) != 0:
            raise Missing("Python's venv module does not work here; on Debian and Ubuntu: apt-get install python3-venv")
    say("installing the locked dependencies: once, and some minutes on a slow line")
    pip("install", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK))
    pip("install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    STAMP.write_text(wanted, encoding="ascii")
    say("the environment is ready")


def pip(*arguments: str) -> None:
    """Run pip in the environment.

    Raises:
        Missing: when it fails.
    """
    if python_runs("-m", "pip", "--disable-pip-version-check", *arguments) != 0:
        raise Missing(
            "The dependencies could not be installed; pip's own message stands above. Without a network, point pip "
            "at a folder of wheels (PIP_NO_INDEX=1 PIP_FIND_LINKS=<folder>) and run this again."
        )


def python_runs(*arguments: str) -> int:
    """Run the environment's Python in the checkout; return its exit code."""
    return subprocess.call([str(PYTHON), *arguments], cwd=str(ROOT))


def check() -> int:
    """Run every check, also after one failed; name those that did."""
    failed = []
    for name, arguments in CHECKS.items():
        began = time.monotonic()
        code = python_runs(*arguments)
        say(f"{name}: {'FAILED' if code else 'ok'} ({time.monotonic() - began:.0f} s)")
        if code:
            failed.append(name)
    if failed:
        say(f"check failed: {', '.join(failed)}")
    return 1 if failed else 0


def find_data() -> None:
    """Name the folder of recorded market data when it stands beside the checkout and nobody named one."""
    beside = ROOT.parent / "shared" / "data"
    if "DTMS_DATA_DIR" not in os.environ and beside.is_dir():
        os.environ["DTMS_DATA_DIR"] = str(beside)


def survey_folder() -> str:
    """Return where the recorded bars are.

    Raises:
        Missing: when nobody said.
    """
    if "DTMS_DATA_DIR" not in os.environ:
        raise Missing("The survey plays recorded bars: name the folder that holds bars/ with DTMS_DATA_DIR.")
    return str(Path(os.environ["DTMS_DATA_DIR"]) / "bars")


def perform(task: str, given: list[str]) -> int:
    """Run one task; return its exit code."""
    setup()
    if task == "setup":
        return 0
    if task == "check":
        return check()
    if task == "survey" and not given:
        given = [survey_folder()]
    return python_runs(*TASKS[task], *given)


def say(text: str) -> None:
    """Say what happens, apart from what the programs print."""
    print(f"dtms: {text}", file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Find the task and run it."""
    if not arguments or arguments[0] not in TASKS:
        say(f"say what to do: {', '.join(TASKS)}")
        return 2
    find_data()
    try:
        return perform(arguments[0], arguments[1:])
    except Missing as missing:
        say(str(missing))
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The script behind make and dtms.cmd says what is missing, and repeats no work."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.house.checkout import ROOT
from tools import house


def test_an_older_python_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 10, "final", 0))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(house.Missing, match=r"Python 3\.11 or newer is needed"):
        house.find_python()


def test_an_unknown_task_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert house.main(["fly"]) == 2
    assert "setup, demo, test, check" in capsys.readouterr().err


def test_an_environment_that_fits_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = tmp_path / "stamp"
    stamp.write_text(house.fingerprint(), encoding="ascii")
    monkeypatch.setattr(house, "STAMP", stamp)
    monkeypatch.setattr(house, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(house, "pip", lambda *_: pytest.fail("pip was run"))
    house.setup()


def test_an_environment_of_another_lock_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp, ran = tmp_path / "stamp", []
    stamp.write_text("of another lock", encoding="ascii")
    monkeypatch.setattr(house, "STAMP", stamp)
    monkeypatch.setattr(house, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(house, "pip", lambda *given: ran.append(given))
    house.setup()
    assert "--require-hashes" in ran[0]
    assert stamp.read_text(encoding="ascii") == house.fingerprint()


def test_a_failed_check_is_named_and_the_others_still_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(house, "PYTHON", Path(sys.executable))
    monkeypatch.setattr(house, "CHECKS", {"bad": ("-c", "raise SystemExit(3)"), "good": ("-c", "")})
    assert house.check() == 1
    told = capsys.readouterr().err
    assert "good: ok" in told
    assert "check failed: bad" in told


def test_the_script_compiles_for_an_older_python() -> None:
    source = (ROOT / "tools" / "house.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))


def test_make_and_the_windows_script_hand_every_task_to_the_script() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert set(house.TASKS) <= set(makefile.split(".PHONY:")[1].splitlines()[0].split())
    assert 'tools\\house.py" %*' in (ROOT / "dtms.cmd").read_text(encoding="utf-8")


def test_the_layers_check_fails_when_an_import_points_outward(tmp_path: Path) -> None:
    """The contracts in pyproject.toml bite: a copy of the package with one wrong import is refused."""
    shutil.copytree(ROOT / "src" / "dtms", tmp_path / "src" / "dtms", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    wrong = tmp_path / "src" / "dtms" / "domain" / "prices.py"
    wrong.write_text(wrong.read_text(encoding="utf-8") + "\nimport time  # noqa\n", encoding="utf-8")
    command = "import sys; sys.path.insert(0, 'src'); " + house.CHECKS["layers"][1]
    run = subprocess.run(
        [sys.executable, "-c", command, "--no-logo", "--no-cache"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 1
    assert "dtms.domain.prices -> time" in run.stdout

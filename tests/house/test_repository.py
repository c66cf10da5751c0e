"""What is committed names no machine and no package registry, and its Windows script is one that Windows can read."""

import re
from pathlib import Path

from tests.house.checkout import ROOT, text_of, tracked

# Put together from parts, so that this file does not name what it looks for.
MACHINE = re.compile(r"(?<![\w./-])/(?:work|root|opt|tmp|Users)" + "/|" + re.escape(str(Path.home())) + "/")
REGISTRY = re.compile(
    "|".join(("pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npm", "index" + "-url" + r" "))
)


def test_no_tracked_file_names_a_machines_folder() -> None:
    found = [(p.name, m[0]) for p in tracked() for m in MACHINE.finditer(text_of(p))]
    assert not found


def test_no_tracked_file_names_a_package_registry() -> None:
    found = [(p.name, m[0]) for p in tracked() for m in REGISTRY.finditer(text_of(p))]
    assert not found


def test_the_patterns_find_what_they_look_for() -> None:
    assert MACHINE.search("see " + "/tm" + "p/x")
    assert MACHINE.search(f"{Path.home()}/x")
    assert not MACHINE.search("docs/work/x")
    assert REGISTRY.search("https://" + "pypi" + ".org/simple")


def test_the_windows_script_has_windows_line_ends() -> None:
    script = (ROOT / "dtms.cmd").read_bytes()
    assert script.count(b"\r\n") == script.count(b"\n") > 0

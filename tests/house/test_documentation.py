"""The documentation says what is there: its commands run, its links lead somewhere, its tests exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.house.checkout import PAGES, ROOT, text_of
from tests.server.world import make_world
from tools.house import TASKS
from typer.main import get_command

from dtms.cli import app
from dtms.config.keys import ENVIRONMENT, READ_ELSEWHERE, REFUSED
from dtms.config.leaves import leaves
from dtms.server.answers import ErrorCode

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
TEST = re.compile(r"`(test_[a-z0-9_]+)`")
COMMAND = re.compile(r"^(?:[A-Z0-9_]+=\S+ )*(?:dtms|make|dtms\.cmd) .*$", re.MULTILINE)
INLINE = re.compile(r"`((?:dtms|make|dtms\.cmd) [^`]+)`")
FENCE = re.compile(r"^```(?:sh|console|bat|text)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"`([a-z0-9]+(?:\.[a-z0-9_]+)+)`")
VARIABLE = re.compile(r"\b((?:DTMS|MT5)_[A-Z_]+[A-Z])\b")


def pages() -> list[Path]:
    assert len(PAGES) > 10
    return list(PAGES)


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of every command that a page shows."""
    shown = [line for fence in FENCE.findall(text) for line in COMMAND.findall(fence)]
    for line in (*shown, *INLINE.findall(text)):
        words = [w for w in shlex.split(line.split("#")[0].split("|")[0]) if not re.match(r"^[A-Z0-9_]+=", w)]
        yield [w for w in words if w not in ("…", "...")]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made for links."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_every_link_leads_to_a_file_and_every_anchor_to_a_heading(page: Path) -> None:
    for target in LINK.findall(text_of(page)):
        if target.startswith(("http://127.0.0.1", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_every_named_test_exists(page: Path) -> None:
    known = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in (file.stem, *re.findall(r"def (test_[a-z0-9_]+)", text_of(file)))
    }
    assert {name for name in TEST.findall(text_of(page)) if name not in known} == set()


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_every_command_exists_with_its_options(page: Path) -> None:
    for words in commands(text_of(page)):
        if words[0] in ("make", "dtms.cmd"):
            assert words[1] in TASKS, words
        else:
            refuse_unknown(words[1:])


def refuse_unknown(words: list[str]) -> None:
    """Follow a command's words into the commands of the program."""
    command, path = get_command(app), list(words)
    while hasattr(command, "commands") and path and path[0] in command.commands:
        command = command.commands[path.pop(0)]
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    assert not hasattr(command, "commands") or command.name == "config" or path[:1] in (["--version"], ["--help"]), (
        words
    )
    assert {word for word in path if word.startswith("--")} <= options, words


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_every_setting_and_variable_exists(page: Path) -> None:
    sections = {key.partition(".")[0] for key in leaves() if "." in key}
    named = {key for key in SETTING.findall(text_of(page)) if key.partition(".")[0] in sections}
    assert named <= set(leaves())
    assert set(VARIABLE.findall(text_of(page))) <= {*ENVIRONMENT, *READ_ELSEWHERE, *REFUSED}


def test_a_wrong_command_is_noticed() -> None:
    for wrong in (["nothing"], ["serve", "--nothing"]):
        with pytest.raises(AssertionError):
            refuse_unknown(wrong)


def test_every_endpoint_is_in_the_documentation_and_no_other() -> None:
    served = {(row.method, row.path) for row in make_world().app.rows}
    page = text_of(ROOT / "docs" / "api.md")
    described = set(re.findall(r"^\| `(GET|POST) ([^`?]+)(?:\?[^`]*)?`", page, re.MULTILINE))
    # One is made by the framework, the other exists to be refused.
    assert described - {("GET", "/openapi.json")} == served - {("GET", "/dtms/trade/enable")}


def test_every_error_code_is_in_the_documentation() -> None:
    page = text_of(ROOT / "docs" / "api.md")
    assert {code.value for code in ErrorCode if f"`{code.value}`" not in page} == set()

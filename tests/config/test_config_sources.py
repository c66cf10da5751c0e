"""Configuration: where values come from, how a wrong one is refused, what is shown, and what reloads."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from dtms.config import Config, Given, load, reload, schema, terminal_secret
from dtms.config.keys import ENVIRONMENT, RANGES, range_of
from dtms.config.leaves import leaves
from dtms.domain.errors import Misconfigured
from dtms.domain.trade import Mode
from dtms.settings import Settings

Tree = dict[str, Any]


def given(path: Path | None = None, environ: dict[str, str] | None = None, **overrides: str) -> Given:
    return Given(
        path=path,
        required=path is not None,
        environ=environ or {},
        overrides={key.replace("__", "."): value for key, value in overrides.items()},
    )


def written(folder: Path, content: Tree | str) -> Path:
    path = folder / "dtms_config.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def source_of(config: Config, key: str) -> str:
    return next(entry.source for entry in config.entries if entry.key == key)


def test_without_any_source_the_defaults_hold() -> None:
    config = load(given())
    assert config.settings == Settings()
    assert (config.mode, config.api.host, config.api.port) == (Mode.OBSERVE, "127.0.0.1", 8001)
    assert config.store.url == "sqlite:///data/dtms_trades.db"
    assert {entry.source for entry in config.entries} == {"default"}


def test_command_line_beats_environment_beats_file_beats_default(tmp_path: Path) -> None:
    path = written(tmp_path, {"api": {"port": 9001}, "cadence": {"fast_s": 20}, "rails": {"readds_max": 1}})
    environ = {"DTMS_API_PORT": "9002", "DTMS_MONITORING_INTERVAL": "25"}
    config = load(given(path, environ, api__port="9003"))
    assert (config.api.port, source_of(config, "api.port")) == (9003, "command line")
    assert config.settings.cadence.fast_s == 25.0
    assert source_of(config, "cadence.fast_s") == "environment DTMS_MONITORING_INTERVAL"
    assert (config.settings.rails.readds_max, source_of(config, "rails.readds_max")) == (1, path.as_posix())
    assert source_of(config, "main.port") == "default"


def test_every_environment_name_sets_its_key() -> None:
    values = {"port": "9100", "login": "7", "retry_count": "4", "timeout_s": "2", "fast_s": "11", "mode": "auto"}
    values |= {
        "api_url": "http://h:1",
        "main_url": "http://h:2",
        "store.url": "sqlite:///x.db",
        "module": "metatrader5",
    }
    for name, key in ENVIRONMENT.items():
        text = values.get(key) or values.get(key.rpartition(".")[2]) or "text"
        config = load(given(environ={name: text}))
        assert source_of(config, key) == f"environment {name}"


def test_a_nested_table_is_changed_entry_by_entry(tmp_path: Path) -> None:
    config = load(given(written(tmp_path, {"regime": {"slope_session": {"asian": 1.7}}})))
    assert config.settings.regime.slope_session == {"asian": 1.7, "london": 1.0, "ny": 0.8, "overlap": 0.7}


def test_lists_and_nulls_can_be_given_everywhere(tmp_path: Path) -> None:
    path = written(tmp_path, {"rails": {"news_impacts": ["high"], "reset_hour": None}, "score": {"factor_asian": 1}})
    assert load(given(path)).settings.rails.news_impacts == ("high",)
    config = load(given(rails__news_impacts='["low"]', rails__reset_hour="null", mt5__login="none"))
    assert (config.settings.rails.news_impacts, config.mt5.login) == (("low",), None)


WRONG_FILES: list[tuple[Tree | str, str]] = [
    ({"protection": {"warn_l1": "x"}}, r'protection.warn_l1 = "x": must be a valid number \(from .*dtms_config.json\)'),
    ({"protection": {"warn_l1": "-3"}}, r'protection.warn_l1 = "-3": must be a valid number'),
    ({"protection": {"hedge": "maybe"}}, r"protection.hedge = \"maybe\": must be 'hedge', 'close' or 'off'"),
    ({"protection": {"attach_stop": 1}}, r"protection.attach_stop = 1: must be a valid boolean"),
    ({"protection": {"close_share": 1.5}}, r"protection.close_share = 1.5: must lie between 0.01 and 1"),
    ({"protection": {"flat_mins": 3}}, r"protection.flat_mins: unknown key; did you mean protection.flat_min\?"),
    ({"protektion": {"warn_l1": -3}}, r"protektion: unknown key; did you mean protection\?"),
    ({"warn_l1": -3}, r"warn_l1: unknown key; did you mean protection.warn_l1\?"),
    ({"regime": {"slope_session": {"tokyo": 1}}}, r"regime.slope_session.tokyo: unknown key"),
    ({"protection": 5}, r"protection = 5: must be an object of settings"),
    ({"api": {"port": 0}}, r"api.port = 0: must lie between 1 and 65535"),
    ({"api": {"port": True}}, r"api.port = true: must be a valid integer"),
    ({"api": {"port": 80.5}}, r"api.port = 80.5: must be a valid integer"),
    ({"api": {"host": ""}}, r'api.host = "": must not be empty'),
    ({"cadence": {"fast_s": 0}}, r"cadence.fast_s = 0.0: must lie between 1 and 86400"),
    ({"score": {"factors_range": [1, 2]}}, r"score.factors_range needs six factors; set are score.factors_range"),
    ({"score": {"factors_range": [1, 1, 1, 1, 1, -1]}}, r"score.factors_range = .*: must lie between 0 and 100"),
    ({"rails": {"reset_zone": "Mars/Base"}}, r'rails.reset_zone = "Mars/Base": must be a time zone'),
    ({"rails": {"reset_hour": 24}}, r"rails.reset_hour = 24: must lie between 0 and 23"),
    ({"store": {"url": "mysql://x"}}, r"store.url = \"mysql://x\": must start with sqlite:/// or postgresql://"),
    ({"client": {"api_url": "localhost:8001"}}, r"client.api_url = \"localhost:8001\": must be an http"),
    ({"mode": "AUTO"}, r"mode = \"AUTO\": must be 'observe', 'advise' or 'auto'"),
    ({"magic_prefix": 8192}, r"magic_prefix = 8192: must lie between 1 and 8191"),
    ('{"api": {"port": NaN}}', r"NaN is not a number"),
    ('{"api": {"port": 1e999}}', r"api.port = Infinity: must be"),
    ('{"api": {"port": 1, "port": 2}}', r"the key 'port' stands there twice"),
    ("[]", r"must be a JSON object of sections"),
    ("{", r"not valid JSON"),
    ("", r"not valid JSON"),
]


@pytest.mark.parametrize(("content", "message"), WRONG_FILES)
def test_a_wrong_file_is_one_message_with_key_value_rule_and_source(
    tmp_path: Path, content: Tree | str, message: str
) -> None:
    with pytest.raises(Misconfigured, match=message) as raised:
        load(given(written(tmp_path, content)))
    assert "dtms_config.json" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"DTMS_API_PORT": "abc"}, r'api.port = "abc": must be a valid integer.*\(from environment DTMS_API_PORT\)'),
        ({"DTMS_TIMEOUT": "inf"}, r'client.timeout_s = "inf": must be a finite number'),
        ({"DTMS_MODE": "on"}, r"mode = \"on\": must be 'observe', 'advise' or 'auto'"),
        ({"DTMS_API_PROT": "1"}, r"DTMS_API_PROT: unknown variable; did you mean DTMS_API_PORT\?"),
        ({"DTMS_API_KEYS": "a:read:secret"}, r"DTMS_API_KEYS: API keys are not supported by this version"),
    ],
)
def test_a_wrong_environment_stops_the_start(environ: dict[str, str], message: str) -> None:
    with pytest.raises(Misconfigured, match=message):
        load(given(environ=environ))


def test_variables_of_other_programs_and_empty_ones_are_left_alone() -> None:
    environ = {"DTMS_DATA_DIR": "/x", "DTMS_TELEGRAM_TOKEN": "t", "DTMS_API_PORT": " ", "MT5_LOGIN": ""}
    assert {e.source for e in load(given(environ=environ)).entries} == {"default"}


def test_a_wrong_command_line_is_refused_with_a_hint() -> None:
    with pytest.raises(Misconfigured, match=r"api.prot: unknown key; did you mean api.port\? \(from command line\)"):
        load(given(api__prot="1"))


def test_rules_across_keys_name_what_was_set(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"thresholds must fall.*protection.warn_l1 = -6.0 \(from command line\)"):
        load(given(protection__warn_l1="-6"))


def test_a_named_file_must_exist_and_the_default_one_need_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(given()).api.port == 8001
    with pytest.raises(Misconfigured, match="no such configuration file"):
        load(given(tmp_path / "absent.json"))
    (tmp_path / "config").mkdir()
    written(tmp_path / "config", {"api": {"port": 8101}})
    assert load(given()).api.port == 8101


def test_every_default_lies_in_its_own_range_and_every_number_has_one() -> None:
    used = set()
    for leaf in leaves().values():
        numbers = leaf.default if isinstance(leaf.default, tuple) else (leaf.default,)
        for number in numbers:
            if isinstance(number, int | float) and not isinstance(number, bool):
                bounds = range_of(leaf.key)
                assert bounds is not None, leaf.key
                assert bounds.low <= number <= bounds.high, leaf.key
                used.add(bounds.pattern.pattern)
    assert {r.pattern.pattern for r in RANGES} - used <= {r"mt5\.login", r"rails\.reset_hour", r"watcher\.magics"}


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    environ = {
        "MT5_PASSWORD": "hunter2",
        "DTMS_TERMINAL_SECRET": "swordfish",
        "DTMS_STORE_URL": "postgresql://me:opensesame@db/dtms",
    }
    config = load(given(environ=environ))
    assert (config.mt5.password, config.terminal.secret) == ("hunter2", "swordfish")
    assert config.store.url == "postgresql://me:opensesame@db/dtms"
    shown = repr(config) + repr(config.entries) + repr(config.given) + str([e.shown for e in config.entries])
    for secret in ("hunter2", "swordfish", "opensesame"):
        assert secret not in shown
    with pytest.raises(Misconfigured) as raised:
        load(given(environ={"DTMS_STORE_URL": "mysql://me:opensesame@db"}))
    assert "opensesame" not in str(raised.value)
    with pytest.raises(Misconfigured) as raised:
        load(given(written(tmp_path, {"terminal": {"secret": 12345678}})))
    assert "12345678" not in str(raised.value)


def test_the_schema_accepts_the_defaults_and_refuses_what_the_loader_refuses() -> None:
    validator = jsonschema_rs.validator_for(schema())
    tree: Tree = {}
    for entry in load(given()).entries:
        node = tree
        *path, name = entry.key.split(".")
        for part in path:
            node = node.setdefault(part, {})
        node[name] = entry.value
    assert validator.is_valid(tree)
    for wrong in ({"api": {"port": 0}}, {"api": {"prot": 1}}, {"mode": "on"}, {"protection": {"warn_l1": "x"}}):
        assert not validator.is_valid(wrong), wrong


def test_a_reload_applies_what_may_change_and_names_what_waits_for_a_restart(tmp_path: Path) -> None:
    path = written(tmp_path, {"protection": {"warn_l1": -3.4}})
    running = load(given(path))
    written(tmp_path, {"protection": {"warn_l1": -4}, "log": {"level": "debug"}, "api": {"port": 9009}})
    for _ in range(2):
        result = reload(running)
        assert result.needs_restart == {"api.port": {"old": 8001, "new": 9009}}
        assert (result.config.api.port, result.config.settings.protection.warn_l1) == (8001, -4.0)
    assert result.changes == {
        "protection.warn_l1": {"old": -3.4, "new": -4.0},
        "log.level": {"old": "info", "new": "debug"},
    }
    again = reload(result.config)
    assert (again.changes, set(again.needs_restart)) == ({}, {"api.port"})


def test_a_reload_with_any_wrong_part_is_refused_as_a_whole(tmp_path: Path) -> None:
    path = written(tmp_path, {})
    running = load(given(path))
    written(tmp_path, {"protection": {"warn_l1": -4}, "api": {"port": "x"}})
    with pytest.raises(Misconfigured, match=r"api\.port"):
        reload(running)


def test_changed_secrets_are_masked_in_a_reload(tmp_path: Path) -> None:
    path = written(tmp_path, {"mt5": {"password": "first"}})
    running = load(given(path))
    written(tmp_path, {"mt5": {"password": "second"}})
    assert reload(running).needs_restart == {"mt5.password": {"old": "********", "new": "********"}}


def test_the_terminals_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    config = load(given(data_dir=str(tmp_path / "data")))
    secret = terminal_secret(config)
    assert len(secret) >= 64
    assert terminal_secret(config) == secret
    kept = tmp_path / "data" / "terminal_secret"
    if os.name != "nt":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [p.name for p in kept.parent.iterdir()] == ["terminal_secret"]
    kept.write_text("short", encoding="ascii")
    with pytest.raises(Misconfigured, match="too short"):
        terminal_secret(config)


def test_a_given_secret_makes_no_file(tmp_path: Path) -> None:
    config = load(given(environ={"DTMS_TERMINAL_SECRET": "given"}, data_dir=str(tmp_path)))
    assert terminal_secret(config) == "given"
    assert list(tmp_path.iterdir()) == []

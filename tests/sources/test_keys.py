"""The keys of the outside sources: checked by name, value, rule and source, and shown without what is secret."""

import json
from pathlib import Path
from typing import Any

import pytest

from dtms.config import Config, Given, load, reload, schema
from dtms.domain.errors import Misconfigured


def loaded(path: Path, tree: dict[str, Any], **overrides: str) -> Config:
    path.write_text(json.dumps(tree), encoding="utf-8")
    return load(Given(path=path, required=True, environ={}, overrides=overrides))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "dtms.json"


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"calendar": "ftp://host/x"}, r'calendar = "ftp://host/x": must be a file or an http:// or https:// address'),
        ({"calendar": 5}, "calendar = 5: must be a valid string"),
        (
            {"vix": {"source": "file:///x"}},
            r'vix.source = "file:///x": must be a file or an http:// or https:// address',
        ),
        ({"vix": {"stale_days": 0}}, "vix.stale_days = 0.0: must lie between 0.1 and 365"),
        ({"vix": {"sources": "x"}}, r"vix.sources: unknown key; did you mean vix.source\?"),
        ({"flow": {"exchanges": {"BTCUSD": "binance"}}}, "must name exchange and market, like binance:BTC/USDT"),
        ({"flow": {"exchanges": {"BTCUSD": 7}}}, r'flow.exchanges = {"BTCUSD": 7}: must be a valid string'),
        ({"flow": {"exchanges": ["BTCUSD"]}}, "flow.exchanges = .*: must be an object"),
        ({"flow": {"poll_s": 0.1}}, "flow.poll_s = 0.1: must lie between 1 and 300"),
        ({"flow": {"stale_s": 4}}, "flow.stale_s = 4.0: must lie between 5 and 3600"),
        ({"fetching": {"refresh_h": 0}}, "fetching.refresh_h = 0.0: must lie between 0.1 and 168"),
    ],
)
def test_a_wrong_value_is_told_with_its_rule_and_source(file: Path, tree: dict[str, Any], message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as caught:
        loaded(file, tree)
    assert file.as_posix() in str(caught.value)


@pytest.mark.parametrize(
    "where", ["news.csv", "data/news.json", "C:\\data\\news.csv", "/x/y.csv.gz", "https://host:81/a?b=c", "http://h/x"]
)
def test_a_calendar_is_a_file_or_a_url(file: Path, where: str) -> None:
    assert loaded(file, {"calendar": where}).calendar == where


def test_exchanges_come_from_the_file_and_whole_from_the_command_line(file: Path) -> None:
    tree = {"flow": {"exchanges": {"BTCUSD": "binance:BTC/USDT", "ETHUSD": "kraken:ETH/USD"}}}
    assert loaded(file, tree).flow.exchanges == tree["flow"]["exchanges"]
    given = loaded(file, tree, **{"flow.exchanges": '{"BTCUSD": "kraken:BTC/USD"}'})
    assert given.flow.exchanges == {"BTCUSD": "kraken:BTC/USD"}
    assert loaded(file, {}).flow.exchanges == {}


def test_a_key_in_a_url_is_not_shown(file: Path) -> None:
    config = loaded(file, {"calendar": "https://host/news?apikey=opensesame", "vix": {"source": "https://u:pw@h/v"}})
    shown = json.dumps([entry.shown for entry in config.entries])
    assert "opensesame" not in shown
    assert ":pw@" not in shown
    assert "https://host/news?********" in shown
    assert config.calendar == "https://host/news?apikey=opensesame"
    with pytest.raises(Misconfigured) as caught:
        loaded(file, {"flow": {"exchanges": {"A": "b"}}, "calendar": "https://host/news?apikey=opensesame"})
    assert "opensesame" not in str(caught.value)


def test_another_calendar_waits_for_a_restart_and_says_so(file: Path) -> None:
    """What stands in the file that is named is read again by itself; which file it is needs a restart."""
    config = loaded(file, {"calendar": "a.csv"})
    file.write_text(json.dumps({"calendar": "b.csv"}), encoding="utf-8")
    result = reload(config)
    assert result.changes == {}
    assert result.needs_restart == {"calendar": {"old": "a.csv", "new": "b.csv"}}
    assert result.config.calendar == "a.csv"


def test_the_schema_lets_exchanges_be_named_freely() -> None:
    exchanges = schema()["properties"]["flow"]["properties"]["exchanges"]
    assert exchanges["type"] == "object"
    assert exchanges["additionalProperties"] == {"type": "string"}

"""Calendars and VIX files, from disk and from a local web server: what is good is kept, what is bad is told once."""

import asyncio
import csv
import gzip
import io
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.sources.web import Answer, HandClock, Web, web

from dtms.adapters.calendar import parse_calendar, read_calendar
from dtms.adapters.sources import OutsideSources, make_sources
from dtms.adapters.sources_documents import BYTES_MAX
from dtms.adapters.vix import parse_vix
from dtms.config import Given, load
from dtms.config.model import Config
from dtms.domain.errors import Misconfigured
from dtms.domain.sources import SourceState
from dtms.ports.sources import warnings_of

CPI = {"time_utc": "2026-01-13T13:30:00Z", "currency": "USD", "impact": "High", "event": "CPI y/y"}
ECB = {"time_utc": "2026-01-22 13:15", "currency": "eur", "impact": "high", "event": "Main Refinancing Rate"}
DAY_S = 86_400.0


def ms(utc: str) -> int:
    return int(datetime.fromisoformat(f"{utc}+00:00").timestamp() * 1000)


def as_csv(*rows: dict[str, str]) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(CPI))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def as_json(*rows: dict[str, str]) -> bytes:
    return json.dumps(rows).encode()


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as made:
        yield made


@pytest.fixture
def clock() -> HandClock:
    return HandClock(ms("2026-01-13T12:00"))


def config_of(tmp_path: Path, **keys: Any) -> Config:
    overrides = {"data_dir": str(tmp_path / "data"), "fetching.timeout_s": "1"} | {
        key.replace("__", "."): str(value) for key, value in keys.items()
    }
    return load(Given(path=tmp_path / "none.json", required=False, environ={}, overrides=overrides))


def sources_of(tmp_path: Path, clock: HandClock, **keys: Any) -> OutsideSources:
    return make_sources(config_of(tmp_path, **keys), clock)


def look(sources: OutsideSources) -> None:
    asyncio.run(sources.refresh())


def state_of(sources: OutsideSources, clock: HandClock, name: str) -> SourceState:
    return next(s.state for s in sources.standings(clock.now_ms) if s.name == name)


def calendar_state(sources: OutsideSources, clock: HandClock) -> SourceState:
    return state_of(sources, clock, "economic calendar")


def told(sources: OutsideSources, clock: HandClock) -> str:
    return "\n".join(warnings_of(sources.standings(clock.now_ms)))


# --- calendars ---


@pytest.mark.parametrize(
    "data",
    [
        as_csv(CPI, ECB),
        as_csv(ECB, CPI).replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + as_csv(CPI, ECB),
        gzip.compress(as_csv(CPI, ECB)),
        as_json(CPI, ECB),
        json.dumps({"events": [CPI, ECB]}).encode(),
        json.dumps(
            [
                {
                    "title": "CPI y/y",
                    "country": "USD",
                    "date": "2026-01-13T08:30:00-05:00",
                    "impact": "High",
                    "forecast": "",
                },
                {
                    "title": "Main Refinancing Rate",
                    "country": "EUR",
                    "date": "2026-01-22T08:15:00-05:00",
                    "impact": "High",
                },
            ]
        ).encode(),
        b'[{"event": "CPI y/y", "currency": "USD", "datetime": "2026-01-13T13:30+00:00", '
        b'"impact": "High Impact Expected"}, '
        b'{"event": "Main Refinancing Rate", "currency": "EUR", "datetime": "2026-01-22T13:15+00:00", '
        b'"impact": "High Impact Expected"}]',
    ],
    ids=["csv", "crlf", "bom", "gzip", "json", "events", "weekly service", "wordy service"],
)
def test_calendars_are_read_in_the_forms_in_which_they_come(data: bytes) -> None:
    releases = parse_calendar(data, "calendar")
    assert [(r.time_ms, r.currency, r.impact, r.event) for r in releases] == [
        (ms("2026-01-13T13:30"), "USD", "high", "CPI y/y"),
        (ms("2026-01-22T13:15"), "EUR", "high", "Main Refinancing Rate"),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (as_csv(CPI, ECB | {"impact": ""}), "entry 2: impact is missing"),
        (as_json(CPI, ECB | {"time_utc": "tomorrow"}), "entry 2: Invalid isoformat string: 'tomorrow'"),
        (b'[{"currency": "USD"}]', "entry 1: time_utc is missing"),
        (b"[1]", "entry 1: "),
        (b"[", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": 1}', "neither a list of entries nor an object with a list under 'events'"),
        (b"<html><body>Not found</body></html>", "no entries"),
        (b"<html>\n<body>Not found</body></html>", "entry 1: time_utc is missing"),
        (b"", "no entries"),
        (b"\xff\xfe\x00\x01", "not text"),
        (gzip.compress(as_csv(CPI))[:-9], "not text"),
        (b"time_utc,currency\n" + b'"' + b"x" * 200_000 + b'"', "not valid CSV"),
    ],
)
def test_a_calendar_that_is_wrong_is_told_by_name_and_entry(data: bytes, message: str) -> None:
    with pytest.raises(Misconfigured, match=f"^calendar news.csv: .*{message}"):
        parse_calendar(data, "news.csv")


def test_a_bad_calendar_file_stops_the_start(tmp_path: Path, clock: HandClock) -> None:
    with pytest.raises(Misconfigured, match=r"calendar .*none\.csv: No such file"):
        sources_of(tmp_path, clock, calendar=tmp_path / "none.csv")


def test_the_recorded_calendars_are_read() -> None:
    folder = os.environ.get("DTMS_DATA_DIR")
    if not folder or not (Path(folder) / "calendar").is_dir():
        pytest.skip("DTMS_DATA_DIR does not name a folder with recorded calendars")
    counts = {p.name: len(read_calendar(p)) for p in (Path(folder) / "calendar").glob("*.csv.gz")}
    assert counts["official_releases_2012_202507.csv.gz"] == 2_079
    assert counts["full_week_20260104_20260109.csv.gz"] == 95


def test_a_calendar_file_is_read_again_when_it_changes_and_a_bad_one_changes_nothing(
    tmp_path: Path, clock: HandClock
) -> None:
    path = tmp_path / "news.csv"
    path.write_bytes(as_csv(CPI))
    sources = sources_of(tmp_path, clock, calendar=path)
    assert [r.event for r in sources.releases(clock.now_ms)] == ["CPI y/y"]
    path.write_bytes(as_csv(CPI, ECB))
    look(sources)
    assert len(sources.releases(clock.now_ms)) == 2
    path.write_bytes(b"half a fi")
    look(sources)
    assert len(sources.releases(clock.now_ms)) == 2
    assert "could not be read, the reading of 2026-01-13 is used" in told(sources, clock)
    path.unlink()
    look(sources)
    assert len(sources.releases(clock.now_ms)) == 2
    path.write_bytes(as_csv(ECB))
    look(sources)
    assert len(sources.releases(clock.now_ms)) == 1
    assert "calendar" not in told(sources, clock)


def test_a_calendar_that_ended_long_ago_is_stale_and_blocks_nothing(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "news.csv"
    path.write_bytes(as_csv(CPI))
    sources = sources_of(tmp_path, clock, calendar=path)
    clock.now_ms = ms("2026-01-20T13:30")
    assert calendar_state(sources, clock) is SourceState.OK
    clock.now_ms += 1
    assert calendar_state(sources, clock) is SourceState.STALE
    assert sources.releases(clock.now_ms) == ()
    assert "too old, the news rail is inactive" in told(sources, clock)


def test_without_a_calendar_and_vix_the_status_says_what_is_inactive(tmp_path: Path, clock: HandClock) -> None:
    sources = sources_of(tmp_path, clock)
    assert "no economic calendar: the news rail is inactive" in told(sources, clock)
    assert "no VIX: no VIX adjustment" in told(sources, clock)
    assert sources.releases(clock.now_ms) == ()
    assert sources.vix(clock.now_ms) is None


# --- URLs ---


def test_a_calendar_behind_a_url_is_fetched_daily(site: Web, tmp_path: Path, clock: HandClock) -> None:
    url = site.serve("/week.json", Answer(as_json(CPI)))
    sources = sources_of(tmp_path, clock, calendar=url)
    assert calendar_state(sources, clock) is SourceState.ABSENT
    look(sources)
    assert calendar_state(sources, clock) is SourceState.OK
    clock.advance(DAY_S - 1)
    look(sources)
    assert site.count("/week.json") == 1
    site.serve("/week.json", Answer(as_json(CPI, ECB)))
    clock.advance(1)
    look(sources)
    assert site.count("/week.json") == 2
    assert len(sources.releases(clock.now_ms)) == 2


BAD: dict[str, Answer] = {
    "not there": Answer(b"gone", 404),
    "server error": Answer(b"", 503),
    "a page instead of data": Answer(b"<html>\n<p>log in first</p></html>"),
    "cut off": Answer(as_json(CPI)[:-3]),
    "too slow": Answer(as_json(CPI), stall_s=5),
    "endless redirects": Answer(b"", 302, {"Location": "/week.json"}),
    "an empty list": Answer(b"[]"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_failing_fetch_keeps_the_last_good_calendar_and_is_tried_again(
    site: Web, tmp_path: Path, clock: HandClock, kind: str
) -> None:
    url = site.serve("/week.json", Answer(as_json(CPI)))
    sources = sources_of(tmp_path, clock, calendar=f"{url}?apikey=opensesame")
    look(sources)
    clock.advance(DAY_S)
    site.serve("/week.json", BAD[kind])
    look(sources)
    assert [r.event for r in sources.releases(clock.now_ms)] == ["CPI y/y"]
    assert "the reading of 2026-01-13 is used" in told(sources, clock)
    assert "opensesame" not in told(sources, clock)
    asked = site.count("/week.json")
    look(sources)
    assert site.count("/week.json") == asked  # not before its time
    site.serve("/week.json", Answer(as_json(CPI, ECB)))
    clock.advance(60)
    look(sources)
    assert len(sources.releases(clock.now_ms)) == 2
    assert "calendar" not in told(sources, clock)


def test_what_is_larger_than_anything_sensible_is_not_read_to_its_end(
    site: Web, tmp_path: Path, clock: HandClock
) -> None:
    url = site.serve("/week.json", Answer(b" " * (BYTES_MAX + 1)))
    sources = sources_of(tmp_path, clock, calendar=url, fetching__timeout_s=10)
    look(sources)
    assert "larger than 32 MiB" in told(sources, clock)


def test_nobody_at_the_other_end_is_said_and_hurts_nothing(tmp_path: Path, clock: HandClock) -> None:
    with web() as closed:
        url = closed.url
    sources = sources_of(tmp_path, clock, calendar=f"{url}/week.json")
    look(sources)
    assert "no economic calendar: the news rail is inactive" in told(sources, clock)
    assert "127.0.0.1" in told(sources, clock)


def test_after_a_restart_the_kept_copy_serves_until_its_day_is_over(
    site: Web, tmp_path: Path, clock: HandClock
) -> None:
    url = site.serve("/week.json", Answer(as_json(CPI)))
    look(sources_of(tmp_path, clock, calendar=url))
    clock.advance(20 * 3_600)
    again = sources_of(tmp_path, clock, calendar=url)
    assert len(again.releases(clock.now_ms)) == 1
    look(again)
    assert site.count("/week.json") == 1
    clock.advance(4 * 3_600)
    look(again)
    assert site.count("/week.json") == 2


def test_a_kept_copy_of_another_url_or_one_that_was_damaged_is_not_used(
    site: Web, tmp_path: Path, clock: HandClock
) -> None:
    url = site.serve("/week.json", Answer(as_json(CPI)))
    look(sources_of(tmp_path, clock, calendar=f"{url}?key=opensesame"))
    assert sources_of(tmp_path, clock, calendar=url).releases(clock.now_ms) == ()
    (copy,) = (tmp_path / "data" / "sources").glob("*.data")
    assert "opensesame" not in copy.with_suffix(".json").read_text()
    copy.write_bytes(copy.read_bytes().replace(b"CPI", b"PPI"))
    assert sources_of(tmp_path, clock, calendar=f"{url}?key=opensesame").releases(clock.now_ms) == ()
    copy.with_suffix(".json").write_text("{")
    assert sources_of(tmp_path, clock, calendar=f"{url}?key=opensesame").releases(clock.now_ms) == ()


def test_a_folder_that_cannot_be_written_costs_the_copy_and_nothing_else(
    site: Web, tmp_path: Path, clock: HandClock
) -> None:
    (tmp_path / "data").write_text("a file where the folder should be")
    sources = sources_of(tmp_path, clock, calendar=site.serve("/week.json", Answer(as_json(CPI))))
    look(sources)
    assert len(sources.releases(clock.now_ms)) == 1


# --- VIX ---


@pytest.mark.parametrize(
    "text",
    [
        "date,close\n2026-01-09,14.49\n2026-01-12,15.12\n",
        "DATE,OPEN,HIGH,LOW,CLOSE\n01/09/2026,15.0,15.2,14.4,14.49\n01/12/2026,14.9,15.5,14.8,15.12\n",
        "observation_date,VIXCLS\n2026-01-08,.\n2026-01-09,14.49\n2026-01-12,15.12\n",
    ],
    ids=["plain", "exchange", "central bank"],
)
def test_a_vix_close_counts_from_the_midnight_after_its_day(text: str) -> None:
    closes = parse_vix(text.encode(), "vix.csv")
    assert closes.at(ms("2026-01-09T23:59"), "x") is None
    known = [closes.at(ms(at), "x") for at in ("2026-01-10T00:00", "2026-01-12T23:59", "2026-01-13T00:00")]
    assert [vix.value for vix in known if vix is not None] == [14.49, 14.49, 15.12]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("day,figure\n2026-01-09,1\n", "needs a column date and a column close"),
        ("date,close\n2026-01-09,14\n2026-01-10,much\n", "line 3: could not convert"),
        ("date,close\n2026-01-09,-1\n", "line 2: -1 is no VIX"),
        ("date,close\n2026-01-09,nan\n", "it has no figures"),
        ("date,close\nyesterday,14\n", "line 2: Invalid isoformat"),
        ("date,close\n2026-01-09\n", "line 2: "),
        ("", "needs a column"),
        ("date,close\n", "it has no figures"),
    ],
)
def test_a_vix_file_that_is_wrong_is_told_by_name_and_line(text: str, message: str) -> None:
    with pytest.raises(Misconfigured, match=f"^VIX vix.csv: {message}"):
        parse_vix(text.encode(), "vix.csv")


def test_the_recorded_vix_is_read_and_known_with_its_age() -> None:
    folder = os.environ.get("DTMS_DATA_DIR")
    if not folder or not (Path(folder) / "macro").is_dir():
        pytest.skip("DTMS_DATA_DIR does not name a folder with the recorded VIX")
    closes = parse_vix((Path(folder) / "macro" / "VIX_D1.csv.gz").read_bytes(), "VIX_D1.csv.gz")
    assert len(closes.close) == 9_235
    peak = closes.at(ms("2020-03-17T12:00"), "x")
    assert peak is not None
    assert peak.value == 82.69
    assert peak.age_days(ms("2020-03-17T12:00")) == 0.5


def test_an_old_vix_is_not_used_and_said_to_be_old(tmp_path: Path, clock: HandClock) -> None:
    path = tmp_path / "vix.csv"
    path.write_text("date,close\n2026-01-09,14.49\n")
    sources = sources_of(tmp_path, clock, vix__source=path)
    vix = sources.vix(clock.now_ms)
    assert vix is not None
    assert (vix.value, vix.age_days(clock.now_ms)) == (14.49, 3.5)
    assert state_of(sources, clock, "VIX") is SourceState.OK
    clock.advance(2 * DAY_S)
    assert sources.vix(clock.now_ms) is None
    assert state_of(sources, clock, "VIX") is SourceState.STALE
    assert "VIX too old: no VIX adjustment" in told(sources, clock)


def test_the_vix_comes_from_a_url_too(site: Web, tmp_path: Path, clock: HandClock) -> None:
    url = site.serve("/vix.csv", Answer(gzip.compress(b"date,close\n2026-01-12,15.12\n")))
    sources = sources_of(tmp_path, clock, vix__source=url)
    look(sources)
    vix = sources.vix(clock.now_ms)
    assert vix is not None
    assert (vix.value, vix.source) == (15.12, url)

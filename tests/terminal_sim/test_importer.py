"""What a MetaTrader terminal exports becomes a recording."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dtms.terminal.simulated.importer import ImportOptions, import_export, read_export
from dtms.terminal.simulated.recording import BarRecording, RecordingError, load_recording

HEADER = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>"
ROWS = [
    "2024.01.16\t12:00:00\t1.10000\t1.10050\t1.09990\t1.10020\t321\t0\t4",
    "2024.01.16\t12:15:00\t1.10020\t1.10060\t1.10010\t1.10040\t222\t0\t0",
    "2024.01.16\t12:30:00\t1.10040\t1.10045\t1.10001\t1.10002\t123\t0\t7",
]
OLD = [
    "2017.01.02,00:00,1.05123,1.05200,1.05100,1.05150,87",
    "2017.01.02,00:01,1.05150,1.05160,1.05140,1.05155,54",
]
OPTIONS = ImportOptions(symbol="EURUSD", digits=5)


def written(folder: Path, lines: list[str], encoding: str = "utf-8") -> Path:
    path = folder / "export.csv"
    path.write_text("\r\n".join(lines) + "\r\n", encoding=encoding)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_export_with_a_header_is_read_in_utc(tmp_path: Path, encoding: str) -> None:
    target = tmp_path / "made.csv.gz"
    import_export(written(tmp_path, [HEADER, *ROWS], encoding), target, OPTIONS)
    made = load_recording(target)
    assert isinstance(made, BarRecording)
    assert made.minutes == 15
    assert datetime.fromtimestamp(made.ms[0] / 1000, UTC).isoformat() == "2024-01-16T10:00:00+00:00"
    assert (made.open[0], made.high[1], made.low[2], made.close[2]) == (1.1, 1.1006, 1.10001, 1.10002)
    assert made.volume.tolist() == [321, 222, 123]
    assert made.spread_points.tolist() == [4, 0, 7]
    assert made.about["symbol"] == "EURUSD"


def test_the_older_form_without_a_header_is_read(tmp_path: Path) -> None:
    made = read_export(written(tmp_path, OLD), ImportOptions(symbol="EURUSD", digits=5, server_clock="utc"))
    assert (made.minutes, made.volume.tolist(), made.spread_points.tolist()) == (1, [87, 54], [-1, -1])
    assert datetime.fromtimestamp(made.ms[0] / 1000, UTC).isoformat() == "2017-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("2024.01.16\t12:45:00\t1.1\t1.0\t1.0\t1.1\t1\t0\t0", "outside low..high"),
        ("2024.01.16\t12:45:00\tx\t1.2\t1.0\t1.1\t1\t0\t0", "could not convert"),
        ("2024.01.16\t12:45:00\tnan\t1.2\t1.0\t1.1\t1\t0\t0", "a price that is none"),
        ("2024.01.16\t12:30:00\t1.1\t1.2\t1.0\t1.1\t1\t0\t0", "time does not rise"),
        ("2024.13.16\t12:45:00\t1.1\t1.2\t1.0\t1.1\t1\t0\t0", "a time that is none"),
        ("2024.01.16\t12:45:00\t1.1", "is missing"),
    ],
)
def test_a_bad_row_is_named_by_its_line(tmp_path: Path, bad: str, said: str) -> None:
    with pytest.raises(RecordingError, match=f"line 5.*{said}"):
        read_export(written(tmp_path, [HEADER, *ROWS, bad]), OPTIONS)


@pytest.mark.parametrize("lines", [[], [HEADER], ["<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>"], [ROWS[0]]])
def test_an_export_without_playable_bars_is_refused(tmp_path: Path, lines: list[str]) -> None:
    with pytest.raises(RecordingError):
        read_export(written(tmp_path, lines), OPTIONS)

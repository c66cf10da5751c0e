"""A document that is read from a file or a URL, and read again when it changes.

A file must be good at the start; a URL is fetched in the background, and its last good copy is kept on disk with its
date. Whatever fails later, the last good reading stays, and why it failed is told.
"""

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog

from dtms.domain.errors import Misconfigured
from dtms.ports.clock import Clock

log = structlog.get_logger(__name__)

T = TypeVar("T")
Parse = Callable[[bytes, str], T]
"""Reads the bytes of a named document; raises ``Misconfigured``."""

BYTES_MAX: Final = 32 * 1024 * 1024
RETRIES_S: Final = (60.0, 300.0, 900.0, 3_600.0)
"""Between tries after a fetch failed; the last one from then on."""
HOUR_MS: Final = 3_600_000


class FetchFailed(Exception):
    """A URL did not give a document; the message says why, in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """How URLs are fetched and kept; ``folder`` holds the last good copies."""

    folder: Path
    refresh_s: float
    timeout_s: float


def is_url(location: str) -> bool:
    return location.startswith(("http://", "https://"))


def shown(location: str) -> str:
    """Name a location without what may be secret in it."""
    if not is_url(location):
        return location
    parts = urlsplit(location)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


class Document(Generic[T]):
    """One document and its last good reading.

    Raises:
        Misconfigured: when it is made from a file that cannot be read.
    """

    def __init__(self, *, what: str, location: str, parse: Parse[T], fetched: Fetched, clock: Clock) -> None:
        self.what = what
        self.location = location
        self.value: T | None = None
        self.failure: str | None = None
        """Why the last try failed, None when it did not."""
        self.got_ms: int | None = None
        """When the last good reading was had, wall time."""
        self._parse = parse
        self._options = fetched
        self._clock = clock
        self._stamp: tuple[int, int] | None = None
        self._failures = 0
        self._due_s = clock.machine_s()
        if is_url(location):
            self._recall()
        else:
            self._stamp = _stamp(Path(location))
            self.value = self._read_file()

    @property
    def shown(self) -> str:
        return shown(self.location)

    async def refresh(self) -> None:
        """Look once whether there is something newer, and read it; never raises for what is outside."""
        if is_url(self.location):
            await self._refetch()
        else:
            await self._reread()

    async def refetch(self) -> None:
        """Fetch or read it now, whether it is due or not; never raises for what is outside."""
        self._due_s, self._stamp = self._clock.machine_s(), None
        await self.refresh()

    # --- a file ---

    def _read_file(self) -> T:
        path = Path(self.location)
        try:
            value = self._parse(path.read_bytes(), str(path))
        except OSError as error:
            raise Misconfigured(f"{self.what} {path}: {error.strerror or error}") from error
        self.got_ms = self._clock.wall_ms()
        return value

    async def _reread(self) -> None:
        stamp = await asyncio.to_thread(_stamp, Path(self.location))
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self.value = await asyncio.to_thread(self._read_file)
        except Misconfigured as error:
            self._note_failure(str(error))
            return
        self._note_success()

    # --- a URL ---

    async def _refetch(self) -> None:
        if self._clock.machine_s() < self._due_s:
            return
        try:
            data = await fetch(self.location, self._options.timeout_s)
            self.value = await asyncio.to_thread(self._parse, data, self.shown)
        except (FetchFailed, Misconfigured) as error:
            wait_s = min(RETRIES_S[min(self._failures, len(RETRIES_S) - 1)], self._options.refresh_s)
            self._due_s = self._clock.machine_s() + wait_s
            self._note_failure(str(error))
            return
        self.got_ms = self._clock.wall_ms()
        self._due_s = self._clock.machine_s() + self._options.refresh_s
        self._note_success()
        await asyncio.to_thread(self._keep, data)

    def _note_failure(self, told: str) -> None:
        self._failures += 1
        if self.failure != told:
            log.warning("source_failed", source=self.what, told=told)
        self.failure = told

    def _note_success(self) -> None:
        log.info("source_read", source=self.what, at=self.shown)
        self.failure, self._failures = None, 0

    # --- the kept copy ---

    @property
    def _copy(self) -> Path:
        return self._options.folder / f"{self.what.replace(' ', '_').lower()}.data"

    @property
    def _label(self) -> Path:
        return self._copy.with_suffix(".json")

    def _recall(self) -> None:
        """Read the kept copy, when it is of this URL and whole; the next fetch is due when it is a refresh old."""
        try:
            label = json.loads(self._label.read_text(encoding="utf-8"))
            data = self._copy.read_bytes()
            if label["url"] != _digest(self.location.encode()) or label["data"] != _digest(data):
                return
            self.value, self.got_ms = self._parse(data, self.shown), int(label["fetched_ms"])
        except FileNotFoundError:
            return
        except (OSError, ValueError, LookupError, TypeError, Misconfigured) as error:
            log.warning("kept_copy_unusable", source=self.what, told=str(error))
            return
        age_s = max(0.0, (self._clock.wall_ms() - self.got_ms) / 1000)
        self._due_s = self._clock.machine_s() + max(0.0, self._options.refresh_s - age_s)

    def _keep(self, data: bytes) -> None:
        label = {
            # A URL can carry a key, so it is kept as a digest.
            "url": _digest(self.location.encode()),
            "from": self.shown,
            "data": _digest(data),
            "fetched_ms": self.got_ms,
            "fetched": datetime.fromtimestamp((self.got_ms or 0) / 1000, UTC).isoformat(timespec="seconds"),
        }
        try:
            self._options.folder.mkdir(parents=True, exist_ok=True)
            _write(self._copy, data)
            _write(self._label, json.dumps(label, indent=1).encode())
        except OSError as error:
            log.warning("copy_not_kept", source=self.what, told=str(error))


async def fetch(url: str, timeout_s: float) -> bytes:
    """Fetch a URL, whole within ``timeout_s`` and not larger than ``BYTES_MAX``.

    Raises:
        FetchFailed: for anything but a 200 with a body of that size.
    """
    try:
        async with asyncio.timeout(timeout_s), httpx.AsyncClient(follow_redirects=True, timeout=timeout_s) as client:
            return await _body(client, url)
    except TimeoutError:
        raise FetchFailed(f"{shown(url)}: no answer within {timeout_s:g} s") from None
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise FetchFailed(f"{shown(url)}: {str(error) or type(error).__name__}") from error


async def _body(client: httpx.AsyncClient, url: str) -> bytes:
    parts: list[bytes] = []
    size = 0
    async with client.stream("GET", url) as answer:
        if answer.status_code != httpx.codes.OK:
            raise FetchFailed(f"{shown(url)}: answered {answer.status_code} {answer.reason_phrase}".rstrip())
        async for part in answer.aiter_bytes():
            size += len(part)
            if size > BYTES_MAX:
                raise FetchFailed(f"{shown(url)}: larger than {BYTES_MAX // 1024**2} MiB")
            parts.append(part)
    return b"".join(parts)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(data)
    draft.replace(path)

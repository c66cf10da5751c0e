"""Backing a store up, putting a backup back, and looking whether what is stored is what was written."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dtms.commands.options import ConfigPath, Overrides, load
from dtms.domain.errors import DtmsError, Misconfigured, StoreFailed

if TYPE_CHECKING:
    from dtms.config import Config


def backup(
    config: ConfigPath = None,
    sets: Overrides = None,
    to: Annotated[Path | None, typer.Option(help="Folder; default: beside the store.")] = None,
) -> None:
    """Back the store up while it is in use, and verify the copy."""
    from dtms.adapters.store_sql.backup import back_up, folder_of
    from dtms.adapters.store_sql.verify import verify_file

    path = _store_file(load(config, sets))
    if not path.exists():
        raise StoreFailed(f"there is no store at {path}")
    made = back_up(path, to or folder_of(path), _now_ms(), verify_file)
    typer.echo(f"{made.path}: verified, {made.path.stat().st_size} bytes")


def restore(
    file: Annotated[Path | None, typer.Argument(exists=True, dir_okay=False, help="A backup.")] = None,
    config: ConfigPath = None,
    sets: Overrides = None,
    empty: Annotated[bool, typer.Option("--empty", help="Start with an empty store instead of a backup.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without asking.")] = False,
) -> None:
    """Put a backup in the store's place; what is there is set aside, never deleted."""
    from dtms.adapters.store_sql.claim import Claim
    from dtms.adapters.store_sql.rebuild import restore as put_back
    from dtms.adapters.store_sql.verify import verify_file

    if (file is None) != empty:
        raise Misconfigured("name a backup, or say --empty")
    loaded = load(config, sets)
    path = _store_file(loaded)
    _require_stopped(loaded, path)
    source = "an empty store" if file is None else str(file)
    typer.echo(f"{path} is replaced by {source}. What happened since is forgotten; recovery then matches what it")
    typer.echo("holds with the positions at the broker, and takes those that it does not know under protection.")
    if not yes:
        typer.confirm("Go on?", abort=True)
    claim = Claim(path)  # while it is held no server rebuilds, and one that runs has it
    if not claim.take():
        raise DtmsError("a DTMS server works with this store: stop it first")
    try:
        aside = put_back(path, file, _now_ms(), verify_file)
    finally:
        claim.give_back()
    typer.echo(f"done; the file that was there is {aside}" if aside else "done")


def verify(
    file: Annotated[Path | None, typer.Argument(exists=True, dir_okay=False, help="Default: the store.")] = None,
    config: ConfigPath = None,
    sets: Overrides = None,
) -> None:
    """Check every page, every row's hash and every chain of facts of a store or a backup."""
    from dtms.adapters.store_sql.verify import verify_file

    path = file or _store_file(load(config, sets))
    if not path.exists():
        raise StoreFailed(f"there is no store at {path}")
    verify_file(path)
    typer.echo(f"{path}: sound")


def _store_file(config: "Config") -> Path:
    from dtms.adapters.store_sql.sqlite import path_of

    path = path_of(config.store.url)
    if path is None:
        raise Misconfigured("a store in memory cannot be kept")
    return path


def _require_stopped(config: "Config", path: Path) -> None:
    """See that no server works on the store.

    Raises:
        DtmsError: when one does.
    """
    import httpx

    base = config.client.api_url.rstrip("/")
    try:
        httpx.get(f"{base}/health", timeout=config.client.timeout_s, trust_env=False)
    except httpx.HTTPError:
        pass
    else:
        raise DtmsError(f"a DTMS server answers at {base}: stop it first")
    if path.exists() and not asyncio.run(_is_free(config)):
        raise DtmsError("a DTMS server holds the authority over this store: stop it first")


async def _is_free(config: "Config") -> bool:
    """Take the engine's lease and give it back; a store that cannot be opened has no live server."""
    from dtms.adapters.clocks import SystemClock
    from dtms.adapters.store_sql.leases import this_holder
    from dtms.adapters.store_sql.store import SqlStore
    from dtms.execute.authority import ENGINE

    store = SqlStore(config.store.url, SystemClock())
    try:
        await store.open()
    except StoreFailed:
        return True
    try:
        lease = await store.acquire(ENGINE, this_holder(), 10.0)
        if lease is not None:
            await store.release(lease)
        return lease is not None
    finally:
        await store.close()


def _now_ms() -> int:
    from dtms.adapters.clocks import SystemClock

    return SystemClock().wall_ms()

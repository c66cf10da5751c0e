"""The secret that the gateway and its clients share: given, or made at first start and kept beside the store."""

import contextlib
import os
from pathlib import Path
from typing import Final

from dtms.config.model import Config
from dtms.domain.errors import Misconfigured

FILE_NAME: Final = "terminal_secret"
_BYTES: Final = 32


def terminal_secret(config: Config) -> str:
    """Return the gateway's secret; make and keep it (mode 0600) when there is none.

    Two programs that start at once agree: the file is created by one of them, and read by both.

    Raises:
        Misconfigured: when it can neither be read nor made.
    """
    if config.terminal.secret is not None:
        return config.terminal.secret
    path = config.data_dir / FILE_NAME
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _create(path.parent / f".{FILE_NAME}.{os.getpid()}", path)
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{path.as_posix()}: the terminal's secret cannot be read or made: {error}") from None
    if len(secret) < _BYTES:
        raise Misconfigured(f"{path.as_posix()}: the terminal's secret is too short; delete the file to make a new one")
    return secret


def _create(draft: Path, path: Path) -> None:
    # Written whole under another name first, so that nobody reads half a secret.
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(os.urandom(_BYTES).hex())
    try:
        with contextlib.suppress(FileExistsError):  # the other program was first
            os.link(draft, path)
    finally:
        draft.unlink()

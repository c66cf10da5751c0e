"""The terminal gateway's program."""

from pathlib import Path

from dtms.config.model import Config
from dtms.config.secret import terminal_secret
from dtms.terminal.launch import TerminalOptions, run_terminal
from dtms.terminal.service import ServiceOptions


def run_terminal_process(config: Config) -> int:
    """Run the terminal gateway until it is stopped; return its exit code."""
    account, terminal = config.mt5, config.terminal
    named = {"login": account.login, "password": account.password, "server": account.server, "path": account.path}
    service = ServiceOptions(
        host=terminal.host,
        port=terminal.port,
        secret=terminal_secret(config),
        login=account.login,
        server=account.server,
        credentials={name: str(v) if isinstance(v, Path) else v for name, v in named.items() if v is not None},
        requests_per_day=config.settings.rails.requests_per_day,
        reserve=config.settings.rails.requests_reserve,
    )
    return run_terminal(TerminalOptions(service=service, module=terminal.module, config=terminal.sim_config))

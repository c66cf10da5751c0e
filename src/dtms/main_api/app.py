"""The main API's application."""

from dtms.config import Config
from dtms.main_api.examples import examples
from dtms.main_api.table import Deps, table
from dtms.ports.store import Store
from dtms.server.app import App, Parts, build_app

_ABOUT = "Executions, the registry of managers, the Universal SL/TP manager, Intelligent Exit and plans."


def create_main_app(deps: Deps, store: Store, config: Config) -> App:
    """Build the main API; nothing is started, read from the store or asked of the program."""
    parts = Parts(
        title="dtms main API",
        about=_ABOUT,
        program=deps.program,
        store=store,
        clock=deps.clock,
        config=config,
        at=config.main,
        examples=examples,
    )
    return build_app(parts, lambda _: table(deps))

"""Ends a real dtms process at its Nth step: Python loads this file when its folder is on the path.

``KILL_AT`` says where. In the server: ``unit:5:during`` is within the fifth transaction that writes a unit,
before it is committed, ``unit:5:after`` just after its commit and before anybody was answered; ``call:3:before`` and
``call:3:after`` stand around its third call to the gateway. In the gateway: ``send:2:before`` and ``send:2:after``
stand around the second request to the terminal; ``sent:1:before`` and ``sent:1:after`` stand around a client's first
request to the broker. The process gets no chance to do anything more.

With ``KILL_WITH=stop`` it is not ended but suspended there, and goes on from there when somebody lets it.
"""

import os
import signal
from collections.abc import Callable
from importlib import import_module
from typing import Any

PLAN = "KILL_AT"


def end() -> None:
    """End this process as a power cut does, or suspend it."""
    if os.environ.get("KILL_WITH") == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
        return
    if hasattr(signal, "SIGKILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(9)


class Count:
    """Counts steps, and knows which one is the last."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen = 0

    def is_last(self) -> bool:
        self.seen += 1
        return self.seen == self.at


def arm_units(count: Count, when: str) -> None:
    store: Any = import_module("dtms.adapters.store_sql.store")
    committer: Any = import_module("dtms.adapters.store_sql.writer").Committer
    apply, commit = store.apply, committer.apply
    ending = False

    def counted(tx: Any, unit: Any, desk: Any) -> Any:
        nonlocal ending
        done = apply(tx, unit, desk)
        if count.is_last():
            if when == "during":
                end()
            ending = True
        return done

    def committed(self: Any, *works: Any) -> Any:
        outcomes = commit(self, *works)
        if ending:
            end()
        return outcomes

    store.apply = counted
    committer.apply = committed


def arm_calls(count: Count, when: str) -> None:
    link: Any = import_module("dtms.adapters.remote_link").RemoteLink
    call = link.call

    async def counted(self: Any, *arguments: Any, **named: Any) -> Any:
        is_last = count.is_last()
        if is_last and when == "before":
            end()
        answer = await call(self, *arguments, **named)
        if is_last:
            end()
        return answer

    link.call = counted


def arm_sent(count: Count, when: str) -> None:
    link: Any = import_module("dtms.adapters.remote_link").RemoteLink
    call = link.call

    async def counted(self: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        is_last = request.get("call") == "send" and count.is_last()
        if is_last and when == "before":
            end()
        answer = await call(self, request, *arguments, **named)
        if is_last and when == "after":
            end()
        return answer

    link.call = counted


def arm_sends(count: Count, when: str) -> None:
    terminal: Any = import_module("dtms.terminal.asking").Terminal
    ask = terminal.ask

    def counted(self: Any, name: str, *arguments: Any, **named: Any) -> Any:
        is_last = name == "order_send" and count.is_last()
        if is_last and when == "before":
            end()
        answer = ask(self, name, *arguments, **named)
        if is_last:
            end()
        return answer

    terminal.ask = counted


ARM: dict[str, Callable[[Count, str], None]] = {
    "unit": arm_units,
    "call": arm_calls,
    "sent": arm_sent,
    "send": arm_sends,
}

if PLAN in os.environ:
    what, at, when = os.environ[PLAN].split(":")
    ARM[what](Count(int(at)), when)

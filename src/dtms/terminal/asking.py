"""The vendor's module, asked with care: what is None becomes an error with the code that came with it."""

from typing import Any

from dtms.terminal.vendor import Reader

_IPC_ERROR = -10_000
_NOT_FOUND = -4
# What the package raises for odd arguments; SystemError is what an extension gives when it fails without saying why.
_MODULE_RAISES = (TypeError, ValueError, AttributeError, KeyError, OverflowError, SystemError)


class Failed(Exception):
    """A question to which the terminal gave no sound answer."""

    def __init__(self, what: str, last_error: list[Any], message: str = "") -> None:
        super().__init__(message or f"{what}: {last_error[0]} {last_error[1]}")
        self.what = what
        self.last_error = last_error


class Terminal:
    """The module behind one set of questions; ``last_error`` is read before anything else is asked."""

    def __init__(self, module: Any) -> None:
        self._module = module

    @property
    def simulation(self) -> Any:
        """What a simulated terminal has beyond the vendor's names; None on a real one."""
        return getattr(self._module, "simulation", None)

    def constant(self, name: str) -> int:
        """Return one of the vendor's constants."""
        return int(getattr(self._module, name))

    def last_error(self) -> list[Any]:
        """Read the code and text of the last call."""
        code, text = self._module.last_error()
        return [int(code), str(text)]

    def ask(self, name: str, *arguments: Any, **named: Any) -> Any:
        """Call a function of the module and return what it answers, None included.

        Raises:
            Failed: when the module raises, which it does for arguments of a wrong type.
        """
        try:
            return getattr(self._module, name)(*arguments, **named)
        except _MODULE_RAISES as raised:
            raise Failed(name, self.last_error(), f"{name} raised {type(raised).__name__}: {raised}") from raised

    def read(self, name: str, read: Reader, answer: Any) -> Any:
        """Turn an answer into plain values.

        Raises:
            Failed: when it does not have the vendor's form.
        """
        try:
            return read(answer)
        except _MODULE_RAISES as raised:
            raise Failed(name, [0, ""], f"{name} answered in an unexpected form: {raised}") from raised

    def need(self, name: str, read: Reader, *arguments: Any, **named: Any) -> Any:
        """Ask what must be answered.

        Raises:
            Failed: when the answer is None.
        """
        answer = self.ask(name, *arguments, **named)
        if answer is None:
            raise Failed(name, self.last_error())
        return self.read(name, read, answer)

    def quoted(self, name: str, read: Reader, symbol: str, *arguments: Any) -> Any:
        """Ask for a symbol's quote, bars or ticks; None when the terminal, which is there, gives none now.

        What one symbol lacks is that symbol's: those asked for with it are answered all the same.

        Raises:
            Failed: when the terminal itself could not be reached.
        """
        answer = self.ask(name, symbol, *arguments)
        if answer is None and (error := self.last_error())[0] <= _IPC_ERROR:
            raise Failed(f"{name} {symbol}", error)
        return None if answer is None else self.read(name, read, answer)

    def found(self, name: str, read: Reader, *arguments: Any) -> Any:
        """Ask for what may not exist, as a symbol; None when the terminal says for certain that it does not.

        Raises:
            Failed: for every other None.
        """
        answer = self.ask(name, *arguments)
        if answer is None and (error := self.last_error())[0] != _NOT_FOUND:
            raise Failed(f"{name} {arguments[0]}", error)
        return None if answer is None else self.read(name, read, answer)

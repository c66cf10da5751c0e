"""Reading names and values out of the vendor's wheel, without running it: it exists for Windows alone."""

import ast
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METHOD_FLAGS = (1, 2, 3, 4)


def read_wheel(path: Path) -> dict[str, Any]:
    """Give the constants, the structures with their fields in order, and the functions of the C module."""
    with zipfile.ZipFile(path) as wheel:
        source = wheel.read("MetaTrader5/__init__.py").decode()
        core = next(name for name in wheel.namelist() if name.endswith(".pyd"))
        image = Image(wheel.read(core))
    return {"constants": constants_of(source), "structures": image.structures(), "functions": image.functions()}


def constants_of(source: str) -> dict[str, int]:
    """Give the module-level names in capitals with their whole values."""
    found = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper():
            found[node.targets[0].id] = whole(node.value)
    return found


def whole(node: ast.expr) -> int:
    """Work out a whole number written as a literal, negated, or as `a | b`."""
    if isinstance(node, ast.BinOp):
        return whole(node.left) | whole(node.right)
    value = ast.literal_eval(node)
    assert isinstance(value, int)
    return value


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a Windows image: where it is loaded, and where it lies in the file."""

    address: int
    offset: int
    size: int


class Image:
    """A Windows image (PE32+), searched for the tables that Python's C interface keeps."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        header = struct.unpack_from("<I", data, 0x3C)[0]
        count, optional = struct.unpack_from("<H", data, header + 6)[0], struct.unpack_from("<H", data, header + 20)[0]
        self._base = int(struct.unpack_from("<Q", data, header + 48)[0])
        self._sections = [self._section(header + 24 + optional + i * 40) for i in range(count)]

    def structures(self) -> dict[str, list[str]]:
        """Give every PyStructSequence_Desc: name, then its fields' names."""
        found = {}
        for at in self._pointers(32):
            name, count = self._text(self._word(at)), struct.unpack_from("<i", self._data, at + 24)[0]
            fields = self._offset(self._word(at + 16))
            if name and name.isidentifier() and name[0].isupper() and fields is not None and 0 < count < 200:
                found[name] = self._fields(fields)
        return found

    def functions(self) -> list[str]:
        """Give the names of every PyMethodDef but the structures' own."""
        found = set()
        for at in self._pointers(24):
            name = self._text(self._word(at))
            code = self._offset(self._word(at + 8))
            if name and name.isidentifier() and name.islower() and code and self._word(at + 16) in METHOD_FLAGS:
                found.add(name)
        return sorted(found - {"_asdict"})

    def _section(self, at: int) -> Section:
        _, address, size, offset = struct.unpack_from("<IIII", self._data, at + 8)
        return Section(address, offset, size)

    def _pointers(self, room: int) -> list[int]:
        return [
            at
            for s in self._sections
            for at in range(s.offset, s.offset + s.size - room, 8)
            if self._text(self._word(at))
        ]

    def _word(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self._data, at)[0])

    def _offset(self, address: int) -> int | None:
        relative = address - self._base
        for section in self._sections:
            if section.address <= relative < section.address + section.size:
                return section.offset + relative - section.address
        return None

    def _text(self, address: int) -> str | None:
        at = self._offset(address)
        if at is None:
            return None
        raw = self._data[at : self._data.find(b"\0", at, at + 200)]
        return raw.decode("ascii") if raw and all(32 <= byte < 127 for byte in raw) else None

    def _fields(self, at: int) -> list[str]:
        names = []
        while address := self._word(at):
            names.append(self._text(address) or "")
            at += 16
        return names

"""Files of named tensors and one JSON text: the format of safetensors, which other tools read.

Nothing in such a file can be code. Eight bytes of length, a JSON header (name → type, shape and
place of the bytes), the bytes of all tensors. Our own tree lies in the header's metadata.
Reads and writes with torch alone; neither numpy nor the safetensors library is needed.
"""

import ctypes
import io
import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch

from ef_slurm.training.values import Frozen, StateError

KEY = "ef-slurm"
"""Of the tree, in the header's metadata."""

_LENGTH = struct.Struct("<Q")
_ALIGNMENT = 8
_BLOCK = 1 << 26
_MAX_HEADER = 1 << 30
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
    # Not known to every torch that we run with.
    **{
        getattr(torch, ours): theirs
        for ours, theirs in (
            ("uint16", "U16"),
            ("uint32", "U32"),
            ("uint64", "U64"),
            ("float8_e4m3fn", "F8_E4M3"),
            ("float8_e5m2", "F8_E5M2"),
        )
        if hasattr(torch, ours)
    },
}
_TYPES = {name: dtype for dtype, name in _NAMES.items()}


def write(file: BinaryIO, frozen: Frozen) -> None:
    """Write a value, durably as far as the file is.

    Raises:
        OSError: it cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": {KEY: json.dumps(frozen.tree)}}
    offset = 0
    # The largest elements first: everything is then aligned.
    tensors = sorted(frozen.data.items(), key=lambda item: -item[1].element_size())
    for name, tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        known = tensor.dtype in _NAMES
        header[name] = {
            # What the format has no name for are bytes; the tree knows better.
            "dtype": _NAMES[tensor.dtype] if known else "U8",
            "shape": list(tensor.shape) if known else [size],
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    file.write(_LENGTH.pack(len(text)) + text)
    for _, tensor in tensors:
        memory = _memory(tensor)
        for start in range(0, len(memory), _BLOCK):
            file.write(memory[start : start + _BLOCK])


def save(path: Path, frozen: Frozen) -> None:
    """Write a value to a new file that only its owner can read.

    Raises:
        OSError: it cannot be written.
    """
    with os.fdopen(os.open(path, _WRITE, 0o600), "wb") as file:
        write(file, frozen)


def load(path: Path) -> Frozen:
    """What was saved.

    Raises:
        OSError: it cannot be read.
        StateError: it is no such file.
    """
    with open_file(path) as file:
        return read(file, path.name)


def dump(frozen: Frozen) -> bytes:
    """What `write` writes."""
    file = io.BytesIO()
    write(file, frozen)
    return file.getvalue()


def read(file: BinaryIO, name: str) -> Frozen:
    """What `write` wrote.

    Args:
        name: of the file, for messages.

    Raises:
        OSError: it cannot be read.
        StateError: it is no such file.
    """
    header = read_header(file, name)
    return Frozen(header.tree, read_tensors(file, header, header.entries))


def open_file(path: Path) -> BinaryIO:
    """Open a file to read, if it is none by a link.

    Raises:
        OSError: it cannot be opened.
    """
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the data.

    Args:
        entries: name of each tensor → its type, shape and place.
        start: where the data begins.
    """

    tree: Any
    entries: Mapping[str, Mapping[str, Any]]
    start: int


def read_header(file: BinaryIO, name: str) -> Header:
    """The beginning of a file.

    Raises:
        OSError: it cannot be read.
        StateError: it is no such file.
    """
    total = file.seek(0, io.SEEK_END)
    file.seek(0)
    first = file.read(_LENGTH.size)
    length = _LENGTH.unpack(first)[0] if len(first) == _LENGTH.size else -1
    if not 0 < length <= min(total - _LENGTH.size, _MAX_HEADER):
        raise StateError(f"{name} is no file of tensors")
    try:
        header = json.loads(_read(file, length))
        tree = json.loads(header.pop("__metadata__")[KEY])
        start = _LENGTH.size + length
        for one, entry in header.items():
            _check_entry(one, entry, total - start)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(f"{name} is no file of tensors: {error}") from None
    return Header(tree, header, start)


def _check_entry(name: str, entry: Mapping[str, Any], available: int) -> None:
    first, end = entry["data_offsets"]
    count = torch.empty(0, dtype=_TYPES[entry["dtype"]]).element_size()
    for extent in entry["shape"]:
        if type(extent) is not int or extent < 0:
            raise ValueError(f"{name} has shape {entry['shape']}")
        count *= extent
    if not (type(first) is type(end) is int and 0 <= first <= end <= available):
        raise ValueError(f"{name} lies at {entry['data_offsets']}")
    if end - first != count:
        raise ValueError(f"{name} has {end - first} bytes, not {count}")


def read_tensors(file: Any, header: Header, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Some of a file's tensors.

    Raises:
        OSError: they cannot be read.
        StateError: the file ends before them.
    """
    entries = {name: header.entries[name] for name in names}
    tensors = {}
    for name, entry in sorted(entries.items(), key=lambda item: int(item[1]["data_offsets"][0])):
        tensor = torch.empty(entry["shape"], dtype=_TYPES[entry["dtype"]])
        file.seek(header.start + entry["data_offsets"][0])
        memory = _memory(tensor)
        done = 0
        while done < len(memory):
            count = file.readinto(memory[done : done + _BLOCK])
            if not count:
                raise StateError(f"the file ends within {name}")
            done += count
        tensors[name] = tensor
    return tensors


def _read(file: Any, length: int) -> bytes:
    parts: list[bytes] = []
    while length:
        part = file.read(length)
        if not part:
            raise ValueError("it ends within its header")
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _memory(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous tensor in host memory."""
    size = tensor.numel() * tensor.element_size()
    if not size:
        return memoryview(b"")
    return memoryview((ctypes.c_char * size).from_address(tensor.data_ptr())).cast("B")

"""Checkpoints of tensors that are spread over the ranks.

Every rank writes the pieces that it has into a file of its own; rank 0 also writes everything else.
A launch of any world size then takes what overlaps its own pieces out of all files. Saving and
reading need no collective beyond those with which torch gathers the state itself.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ef_slurm.training import container
from ef_slurm.training.state import (
    SHARDED,
    STATE_FILE,
    HostCopy,
    Stateful,
    apply_states,
    describe,
    read_states,
    states_of,
)
from ef_slurm.training.values import Frozen, StateError, check, freeze

_MARK = "spread over the ranks"
_TREE = "sharded"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a tensor: the box from `offsets` that is as large as `tensor`."""

    offsets: tuple[int, ...]
    tensor: torch.Tensor
    # Whether this rank writes it: of equal copies the first rank's is enough.
    writes: bool = True


@dataclass(slots=True)
class _Need:
    """A piece of this rank, and how many of its elements are still to come."""

    offsets: Sequence[int]
    tensor: torch.Tensor
    missing: int = field(init=False)

    def __post_init__(self) -> None:
        self.missing = self.tensor.numel()


class ShardedSnapshot:
    """State whose tensors are spread over the ranks."""

    format = SHARDED

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer | None,
        others: Mapping[str, Stateful],
    ):
        # Imported here: it costs about a second that whole checkpoints need not pay.
        from torch.distributed.checkpoint import state_dict

        self._api = state_dict
        self._model = model
        self._optimizers = [] if optimizer is None else [optimizer]
        self._others = dict(others)
        self._copy = HostCopy()
        self._copy_pieces = HostCopy()

    def model(self) -> dict[str, str]:
        return describe(self._api.get_model_state_dict(self._model))

    def check(self, rank: int) -> None:
        if rank == 0:
            check(states_of(self._others))

    def capture(self, rank: int) -> Any:
        pieces: dict[str, list[Piece]] = {}
        plain = _split(self._tensors(), "", pieces)
        own = self._capture_pieces(pieces)
        rest = None
        if rank == 0:
            states = {_TREE: plain, **states_of(self._others)}
            rest = freeze(states, self._copy)
        self._copy.finish()
        return own, rest

    def write(self, captured: Any, directory: Path, rank: int) -> list[str]:
        own, rest = captured
        names = [f"shard-{rank}.safetensors"]
        container.save(directory / names[0], own)
        if rest is not None:
            container.save(directory / STATE_FILE, rest)
            names.append(STATE_FILE)
        return names

    def read(self, directory: Path) -> Any:
        pieces: dict[str, list[Piece]] = {}
        _split(self._tensors(), "", pieces)
        needs = {
            name: [_Need(p.offsets, torch.empty_like(p.tensor, device="cpu")) for p in some]
            for name, some in pieces.items()
        }
        rank = dist.get_rank() if dist.is_initialized() else 0
        _read_pieces(_shard_files(directory, rank), needs)
        return read_states(directory / STATE_FILE, {}), needs

    def apply(self, loaded: Any) -> None:
        states, needs = loaded
        live = self._tensors()
        pieces: dict[str, list[Piece]] = {}
        _split(live, "", pieces)
        with torch.no_grad():
            for name, some in pieces.items():
                for piece, need in zip(some, needs[name], strict=True):
                    piece.tensor.copy_(need.tensor)
        merged = _merge(states[_TREE], live)
        self._api.set_state_dict(
            self._model,
            self._optimizers,
            model_state_dict=merged["model"],
            optim_state_dict=merged["optimizer"],
        )
        apply_states(self._others, states)

    def _capture_pieces(self, pieces: Mapping[str, Sequence[Piece]]) -> Frozen:
        data: dict[str, torch.Tensor] = {}
        table: dict[str, list[list[Any]]] = {}
        for name, some in pieces.items():
            for piece in some:
                if piece.writes and piece.tensor.numel():
                    key = f"{name}@{','.join(map(str, piece.offsets))}"
                    data[key] = self._copy_pieces(key, piece.tensor.contiguous())
                    table.setdefault(name, []).append([list(piece.offsets), key])
        return Frozen(table, data)

    def _tensors(self) -> dict[str, Any]:
        model, optimizer = self._api.get_state_dict(self._model, self._optimizers)
        return {"model": model, "optimizer": optimizer}


def _split(value: Any, name: str, pieces: dict[str, list[Piece]]) -> Any:
    """A copy of nested dictionaries and lists with marks for what is spread; that by its name."""
    if isinstance(value, dict):
        copied: Any = OrderedDict() if isinstance(value, OrderedDict) else {}
        for key, item in value.items():
            copied[key] = _split(item, f"{name}.{key}" if name else str(key), pieces)
        vars_of = getattr(value, "__dict__", None)
        if vars_of:
            vars(copied).update(vars_of)
        return copied
    if isinstance(value, list):
        return [_split(item, f"{name}.{number}", pieces) for number, item in enumerate(value)]
    found = _pieces(value)
    if found is None:
        return value
    pieces[name] = found
    return {_MARK: name}


def _merge(saved: Any, live: Any) -> Any:
    """What was saved, with the live tensors in place of marks."""
    if isinstance(saved, dict):
        if _MARK in saved:
            return live
        of_live = live if isinstance(live, dict) else {}
        merged: Any = OrderedDict() if isinstance(saved, OrderedDict) else {}
        for key, item in saved.items():
            merged[key] = _merge(item, of_live.get(key))
        vars_of = getattr(saved, "__dict__", None)
        if vars_of:
            vars(merged).update(vars_of)
        return merged
    if isinstance(saved, list):
        some = live if isinstance(live, list) and len(live) == len(saved) else [None] * len(saved)
        return [_merge(item, other) for item, other in zip(saved, some, strict=True)]
    if isinstance(saved, torch.Tensor) and isinstance(live, torch.Tensor):
        return saved.to(live.device)
    return saved


def _pieces(value: Any) -> list[Piece] | None:
    """This rank's pieces of a tensor that is spread; None of any other value."""
    if not isinstance(value, torch.Tensor):
        return None
    spread: Any = value
    if hasattr(spread, "local_shards"):  # FSDP's older kind
        return [
            Piece(tuple(shard.metadata.shard_offsets), shard.tensor.detach())
            for shard in spread.local_shards()
        ]
    if not (hasattr(spread, "to_local") and hasattr(spread, "device_mesh")):
        return None
    coordinate = spread.device_mesh.get_coordinate()
    if coordinate is None:
        return []
    copies = [
        place
        for placement, place in zip(spread.placements, coordinate, strict=True)
        if placement.is_replicate()
    ]
    chunks = spread.__create_chunk_list__()
    return [
        Piece(tuple(chunk.offsets), spread.to_local().detach(), not any(copies)) for chunk in chunks
    ]


def _shard_files(directory: Path, rank: int) -> list[Path]:
    """The files of pieces; first the one that this rank wrote, if there were as many ranks."""
    number = {path: int(path.stem.rpartition("-")[2]) for path in directory.glob("shard-*")}
    return sorted(number, key=lambda path: (abs(number[path] - rank), number[path]))


def _read_pieces(files: Sequence[Path], needs: Mapping[str, Sequence[_Need]]) -> None:
    """Fill what is needed.

    Raises:
        OSError: a file cannot be read.
        StateError: a file is none of pieces, or they do not add up.
    """
    for path in files:
        missing = {name: [need for need in some if need.missing] for name, some in needs.items()}
        missing = {name: some for name, some in missing.items() if some}
        if not missing:
            return
        with container.open_file(path) as file:
            header = container.read_header(file, path.name)
            for name, some in missing.items():
                for offsets, key in _table(header.tree, name, path):
                    shape = header.entries[key]["shape"]
                    takers = [need for need in some if _overlap(need, offsets, shape) is not None]
                    if takers:
                        piece = container.read_tensors(file, header, [key])[key]
                        for need in takers:
                            _fill(need, offsets, piece)
    lacking = [name for name, some in needs.items() if any(need.missing for need in some)]
    if lacking:
        raise StateError(f"the shards do not hold all of {', '.join(lacking[:3])}")


def _table(tree: Any, name: str, path: Path) -> Iterator[tuple[list[int], str]]:
    try:
        for offsets, key in tree.get(name, []):
            yield [int(offset) for offset in offsets], str(key)
    except (AttributeError, TypeError, ValueError):
        raise StateError(f"{path.name} has no table of pieces") from None


def _overlap(
    need: _Need, offsets: Sequence[int], shape: Sequence[int]
) -> list[tuple[int, int]] | None:
    """(first, end) of what both boxes have, by dimension; None for nothing."""
    spans = [
        (max(mine, theirs), min(mine + extent, theirs + other))
        for mine, extent, theirs, other in zip(
            need.offsets, need.tensor.shape, offsets, shape, strict=True
        )
    ]
    return None if any(first >= end for first, end in spans) else spans


def _fill(need: _Need, offsets: Sequence[int], piece: torch.Tensor) -> None:
    spans = _overlap(need, offsets, piece.shape)
    assert spans is not None
    mine = tuple(slice(a - at, b - at) for (a, b), at in zip(spans, need.offsets, strict=True))
    theirs = tuple(slice(a - at, b - at) for (a, b), at in zip(spans, offsets, strict=True))
    target = need.tensor[mine]
    target.copy_(piece[theirs])
    need.missing -= target.numel()

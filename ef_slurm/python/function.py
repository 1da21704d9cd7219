"""A function as a training script: a short file that imports it and calls it.

Nothing is pickled: the job's Python, which need not be this one, imports the module as any script
would.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Callable, Sequence
from keyword import iskeyword
from pathlib import Path

from ef_slurm.cli.common.errors import UsageError
from ef_slurm.cli.sbatch.script import Script
from ef_slurm.formats.printing import shortened
from ef_slurm.python.options import WHERE

_SHOWN = 200
"""Characters of an argument in an error."""
_TEXT = """\
#!/usr/bin/env python3
# What {where} made of {module}.{name}.
import sys

{path}from {module} import {name}

if __name__ == "__main__":
    {name}({arguments})
"""


def script_of(function: Callable[..., object], arguments: Sequence[object]) -> Script:
    """The training script that calls a function.

    Args:
        function: of a module's top level, or a `functools.partial` of one.
        arguments: what it is called with: numbers, texts, and lists, tuples and dicts of them.

    Raises:
        UsageError: it cannot be imported under a name, or an argument cannot be written down.
    """
    keywords: dict[str, object] = {}
    while isinstance(function, functools.partial):
        arguments = (*function.args, *arguments)
        keywords = {**function.keywords, **keywords}
        function = function.func
    name, module, root = _place(function)
    for word in (*module.split("."), *keywords):
        if not word.isidentifier() or iskeyword(word):
            raise UsageError(
                f"{WHERE}: {word!r} is no name in Python, so no script can import {module}.{name} "
                "and call it: give names of letters, digits and _"
            )
    told = [_literal(one) for one in arguments]
    told += [f"{key}={_literal(one)}" for key, one in keywords.items()]
    # What is installed is the job's own Python's to find.
    installed = root.is_relative_to(sys.prefix) or root.is_relative_to(sys.base_prefix)
    path = "" if installed else f"sys.path.insert(0, {str(root)!r})\n\n"
    text = _TEXT.format(where=WHERE, module=module, name=name, path=path, arguments=", ".join(told))
    model = module.rpartition(".")[2] if name in ("main", "train") else name
    return Script(name, (), torchrun=True, text=text, model_name=model)


def _place(function: Callable[..., object]) -> tuple[str, str, Path]:
    """A function's name, its module's, and the directory from which that is imported."""
    name, module = getattr(function, "__qualname__", ""), getattr(function, "__module__", "")
    if not name.isidentifier():
        raise UsageError(
            f"{WHERE}: {name or function!r} cannot be imported by its name: give a function of a "
            "module's top level (functools.partial adds arguments)"
        )
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None:
        raise UsageError(
            f"{WHERE}: the function {name} lies in no file, which the job could import it from: "
            "write it into one (in a notebook %%writefile train.py) and give that file"
        )
    path = Path(file).absolute()
    if module == "__main__":
        return name, path.stem, path.parent
    parts = module.split(".")
    up = len(parts) if path.stem == "__init__" else len(parts) - 1
    return name, module, path.parents[up]


def _literal(value: object) -> str:
    text = f"a {type(value).__name__}"
    try:
        text = repr(value)
        same = ast.literal_eval(text) == value
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        same = False
    if not same:
        raise UsageError(
            f"{WHERE}: the argument {shortened(text, _SHOWN)} cannot be written into a script: "
            "give numbers, texts, and lists, tuples and dicts of them"
        )
    return text

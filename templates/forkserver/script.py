"""What a training script does before it has imported torch, read from its text.

A module that the server imports is imported earlier than the script would. What the script does
before its own import (variables of the environment, which libraries read when they are loaded) has
to be done before the server's, or torchrun has to start the ranks.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_CHANGES = frozenset({"setdefault", "update", "pop", "popitem", "clear"})
_CHANGERS = frozenset({"putenv", "unsetenv", "load_dotenv"})


@dataclass(frozen=True)
class Step:
    """One act of the script: a module imported, or a variable set.

    Args:
        module: imported by its full name; "" for a variable.
        unless_attribute: it may be no module, but a name in the one that it is said to be in.
        name, value: of the variable.
        only_if_unset: it is a default.
    """

    module: str = ""
    unless_attribute: bool = False
    name: str = ""
    value: str = ""
    only_if_unset: bool = False

    def is_missing(self, modules: Mapping[str, object]) -> bool:
        """Whether the module that it is said to be in is imported, and has no such name yet."""
        parent, _, name = self.module.rpartition(".")
        return parent in modules and not hasattr(modules[parent], name)


@dataclass(frozen=True)
class Beginning:
    """What can be done before the script, in its order.

    Args:
        obstacle: why its imports cannot be; "" where they can.
    """

    steps: tuple[Step, ...]
    obstacle: str = ""


def read(source: bytes, name: str) -> Beginning:
    """What the script's statements at the top say, until one that cannot be foreseen."""
    try:
        body = ast.parse(source, name).body
    except (SyntaxError, ValueError) as error:
        return Beginning((), f"{name} is no Python script: {error}")
    steps: list[Step] = []
    has_torch = blind = False
    for node in body:
        imported = [*_imports(node)]
        if imported:
            has_torch = has_torch or any(_is_torch(module) for module in imported)
            if not blind:
                steps += _steps(node)
            continue
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        step = _variable(node)
        if step is not None and not blind:
            steps.append(step)
            continue
        line = _changes_environment(node)
        if line and not has_torch:
            return Beginning((), _obstacle(name, line))
        blind = blind or bool(line)
        has_torch = has_torch or _imports_torch(node)
    if not has_torch:
        functions = [n for n in body if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        lines = [line for function in functions if (line := _changes_environment(function))]
        if lines and any(_imports_torch(function) for function in functions):
            return Beginning((), _obstacle(name, lines[0]))
    return Beginning(tuple(steps))


def _obstacle(name: str, line: int) -> str:
    return (
        f"line {line} of {name} changes the environment before torch is imported; the environment "
        "of a job is set with --env, or with os.environ[...] = a text at the top"
    )


def _is_torch(module: str) -> bool:
    return module.partition(".")[0] == "torch"


def _steps(node: ast.AST) -> Iterator[Step]:
    for module in _imports(node):
        yield Step(module=module)
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if alias.name != "*" and module != "__future__":
                    yield Step(module=f"{module}.{alias.name}", unless_attribute=True)


def _imports_torch(tree: ast.AST) -> bool:
    return any(_is_torch(module) for node in ast.walk(tree) for module in _imports(node))


def _imports(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
        yield node.module


def _is_environ(node: ast.AST) -> bool:
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return name in ("environ", "environb")


def _variable(node: ast.AST) -> Step | None:
    """`os.environ["A"] = "b"` and `os.environ.setdefault("A", "b")`."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        if isinstance(target, ast.Subscript) and _is_environ(target.value):
            return _literal(target.slice, node.value, False)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        function = call.func
        if (
            isinstance(function, ast.Attribute)
            and function.attr == "setdefault"
            and _is_environ(function.value)
            and len(call.args) == 2
        ):
            return _literal(call.args[0], call.args[1], True)
    return None


def _literal(name: ast.AST, value: ast.AST, only_if_unset: bool) -> Step | None:
    if not (isinstance(name, ast.Constant) and isinstance(value, ast.Constant)):
        return None
    if not (isinstance(name.value, str) and isinstance(value.value, str)):
        return None
    return Step(name=name.value, value=value.value, only_if_unset=only_if_unset)


def _changes_environment(tree: ast.AST) -> int:
    """The line in which it does, 0 for nowhere."""
    for node in ast.walk(tree):
        changes = False
        if isinstance(node, ast.Subscript):
            changes = _is_environ(node.value) and not isinstance(node.ctx, ast.Load)
        elif isinstance(node, ast.AugAssign):
            changes = _is_environ(node.target)
        elif isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                changes = function.attr in _CHANGERS or (
                    function.attr in _CHANGES and _is_environ(function.value)
                )
            elif isinstance(function, ast.Name):
                changes = function.id in _CHANGERS
        if changes:
            return int(getattr(node, "lineno", 0)) or 1
    return 0

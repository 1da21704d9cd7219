"""The fork server as one text, for `python -c`: its files one behind the other."""

from pathlib import Path

from ef_slurm.resources import SITE, find

_MODULES = (
    *("__init__", "launch", "script", "learned", "preload", "child"),
    *("ranks", "store", "meeting", "main"),
)
"""In the order of their imports."""

_BEGIN = """\
# The fork server of ef-slurm: templates/forkserver/*.py, then templates/torchrun.py.
import sys, types
sources = []
"""
_END = r"""
import linecache
torchrun = sources.pop()
if sys.version_info < (3, 9):
    sys.argv[1:] = [word for word in sys.argv[1:] if not word.startswith(("--preload=", "--left="))]
    exec(compile(torchrun, "<torchrun>", "exec"))
with open("/proc/self/cmdline", "rb") as file:
    words = file.read().decode().split("\0")
text = words[words.index("-c") + 1]
for name, source in sources:
    file = "<" + name + ">"
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = []
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    if "." in name:
        setattr(sys.modules["forkserver"], name.split(".")[1], module)
sys.modules["forkserver.main"].main(text, torchrun)
"""


def fork_server_program(site: Path = SITE) -> str:
    """The program that starts the ranks of a node.

    Args:
        site: the site's directory; a file in its `templates/` counts before the shipped one.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    parts = [_BEGIN]
    for name in _MODULES:
        full = "forkserver" if name == "__init__" else f"forkserver.{name}"
        parts.append(f"sources.append(({full!r}, {_literal(f'forkserver/{name}.py', site)}))\n")
    parts.append(f"sources.append({_literal('torchrun.py', site)})\n")
    return "".join(parts) + _END


def _literal(name: str, site: Path) -> str:
    """The text of a file as Python's raw text: it stays readable in the batch script."""
    text = find(f"templates/{name}", site).read_text(encoding="utf-8")
    if "'''" in text or not text.endswith("\n"):
        raise ValueError(f"templates/{name}: three ' in a row, or no line break at its end")
    return f"r'''{text}'''"

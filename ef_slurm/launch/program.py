"""The fork server as one text, for `python -c`: its files, compressed.

The text stands in every batch script, which Slurm and the queue keep for each job.
"""

import base64
import json
import zlib
from pathlib import Path

from ef_slurm.resources import SITE, find

_MODULES = (
    *("__init__", "launch", "script", "learned", "preload", "leave"),
    *("child", "ranks", "store", "meeting", "waiting", "main"),
)
"""In the order of their imports."""

_BEGIN = """\
# The fork server of ef-slurm: templates/forkserver/*.py, and templates/torchrun.py for where no
# fork can do. ef_slurm/launch/program.py makes this text of them.
import base64, json, linecache, sys, types, zlib
packed = '''
"""
_END = r"""'''
sources = json.loads(zlib.decompress(base64.b64decode(packed)))
torchrun = sources.pop("torchrun")
if sys.version_info < (3, 9):
    if any(word.startswith("--ready=") for word in sys.argv):
        sys.exit(143)  # it cannot wait
    sys.argv[1:] = [word for word in sys.argv[1:] if not word.startswith(("--preload=", "--left="))]
    exec(compile(torchrun, "<torchrun>", "exec"))
with open("/proc/self/cmdline", "rb") as file:
    words = file.read().decode().split("\0")
text = words[words.index("-c") + 1]
for name, source in sources.items():
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
    packed = zlib.compress(json.dumps(sources(site)).encode(), 9)
    return _BEGIN + base64.encodebytes(packed).decode() + _END


def sources(site: Path = SITE) -> dict[str, str]:
    """What the program is made of: full name of each module, and "torchrun", -> text."""
    found = {}
    for name in _MODULES:
        full = "forkserver" if name == "__init__" else f"forkserver.{name}"
        found[full] = _read(f"forkserver/{name}.py", site)
    return {**found, "torchrun": _read("torchrun.py", site)}


def _read(name: str, site: Path) -> str:
    return find(f"templates/{name}", site).read_text(encoding="utf-8")

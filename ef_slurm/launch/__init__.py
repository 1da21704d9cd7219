"""From a request to a batch script: `LaunchRequest` and the pure function `render`.

`docs/templates.md` describes the template's blocks and variables.
"""

from ef_slurm.launch.render import TemplateProblemError, render
from ef_slurm.launch.request import LaunchRequest, is_python

__all__ = ["LaunchRequest", "TemplateProblemError", "is_python", "render"]

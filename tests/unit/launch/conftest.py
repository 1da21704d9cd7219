"""What the tests of batch scripts share."""

from tests.unit.launch.scripts import fake, start

__all__ = ["fake", "start"]

"""What an ef-slurm from before HTTP is told: it sends frames, and understands no other answer.

A frame is four bytes of length (big-endian) and that many bytes of JSON. Its first byte is 0, with
which no HTTP request begins.
"""

from __future__ import annotations

import hashlib
import struct

from ef_slurm.api.identity import Transport
from ef_slurm.api.munge import Munge
from ef_slurm.formats.codec import encode

SENTENCE = (
    "this ef-schedd speaks HTTP, your command is of an older ef-slurm: install the same release on "
    "both hosts"
)


def refusal(kind: Transport, munge: Munge) -> bytes:
    """A frame that the old client shows as the daemon's answer.

    Raises:
        MungeError: over TCP, no credential can be made.
    """
    body = {"code": "bad-request", "message": SENTENCE}
    message = encode({"version": 2, "kind": "failure", "body": body, "nonce": ""})
    if kind is Transport.TCP:
        credential = munge.encode(f"ef-slurm/1 {hashlib.sha256(message).hexdigest()}")
        message = encode({"credential": credential, "message": message.decode()})
    return struct.pack("!I", len(message)) + message

"""What unmunge tells of a credential: anybody of the cluster may have put anything into it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ef_slurm.api.credentials import CredentialError, read_authorization
from ef_slurm.api.messages import FailureCode
from ef_slurm.api.munge import MungeCommand


def test_what_is_no_text_is_no_credential_for_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `printf '\\377\\376' | munge` makes one."""
    program = tmp_path / "unmunge"
    program.write_text(
        "#!/bin/sh\ncat >/dev/null\n"
        r"printf 'STATUS:   Success (0)\nUID:  user1 (3001)\nGID:  user1 (3001)\n\n\377\376'"
        "\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(CredentialError, match="not JSON") as error:
        read_authorization("MUNGE MUNGE:AwQ=:", MungeCommand())
    assert error.value.failure.code is FailureCode.UNAUTHENTICATED

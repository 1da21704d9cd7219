"""How a notice leaves: what is run, with what, and what becomes of one that does not end."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ef_slurm.daemon.act.channels import (
    DeliveryError,
    Letter,
    MailProgram,
    SiteCommand,
    WebHook,
    mail_program,
)
from ef_slurm.daemon.act.sender import letter_of
from ef_slurm.model import Notice, NoticeKind, is_address
from tests.unit.daemon.make import NOW, row

HOSTILE = st.text(max_size=60) | st.sampled_from(
    [
        "-oQ/tmp",
        "x\nBcc: everybody@example.org",
        "$(touch /tmp/owned)",
        "`reboot`",
        "~!touch /tmp/owned",
        "\x00",
        "\ud800",
        "a" * 3000,
    ]
)


def letter(**request: Any) -> Letter:
    job = row()
    notice = Notice(1, job.id, NoticeKind.PROMISED, NOW, "promised with 2 GPUs", 1)
    return letter_of(notice, replace(job, request=replace(job.request, **request)))


def script(tmp_path: Path, text: str) -> str:
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(stat.S_IRWXU)
    return str(path)


def mail(tmp_path: Path, text: str, domain: str = "", timeout: float = 20.0) -> MailProgram:
    program = script(tmp_path, text)
    return MailProgram(lambda: (program, domain), timeout)


RECORD = 'cd {0} && printf "%s\\n" "$@" > arguments && cat > body && env > environment'


@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_nothing_of_a_users_is_anything_but_text(
    name: str, owner: str, to: str, message: str
) -> None:
    job = row()
    request = replace(job.request, name=name, owner=owner, mail_user=to)
    notice = Notice(1, job.id, NoticeKind.AT_RISK, NOW, message, 1)
    made = letter_of(notice, replace(job, request=request))
    assert made.subject.startswith("ef-slurm: job ")
    for line in (made.subject, *made.lines):
        assert line.isprintable()
        assert line.startswith(("ef-slurm: ", "Job ", "At ", "Deadline: ", "More: "))
        assert len(line) < 1500
    assert all(is_address(address) and not address.startswith("-") for address in made.to)


def test_mail_gets_a_subject_the_addresses_and_a_body(tmp_path: Path) -> None:
    mail(tmp_path, RECORD.format(tmp_path)).send(
        letter(name="train; rm -rf ~\n", mail_user="ann@example.org,bob", owner="ann")
    )
    option, subject, *to = (tmp_path / "arguments").read_text().splitlines()
    assert option == "-s"
    assert subject.endswith(r"(train; rm -rf ~\n) is promised its deadline")
    assert to == ["ann@example.org", "bob"]
    assert "promised with 2 GPUs" in (tmp_path / "body").read_text()


def test_what_is_run_gets_nothing_of_the_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EF_SECRET", "1")
    mail(tmp_path, RECORD.format(tmp_path)).send(letter(owner="ann"))
    names = {line.partition("=")[0] for line in (tmp_path / "environment").read_text().split()}
    assert names <= {"PATH", "LANG", "HOME", "PWD", "OLDPWD", "SHLVL", "_"}


@pytest.mark.parametrize(("domain", "to"), [("", "ann"), ("example.org", "ann@example.org")])
def test_without_an_address_its_owner_is_told(tmp_path: Path, domain: str, to: str) -> None:
    mail(tmp_path, RECORD.format(tmp_path), domain).send(letter(owner="ann"))
    assert (tmp_path / "arguments").read_text().splitlines()[2:] == [to]


def test_an_owner_whose_name_is_no_address_is_not_mailed(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="is no address"):
        mail(tmp_path, "true").send(letter(owner="-oQ/tmp"))


def test_a_command_gets_json_and_its_own_arguments(tmp_path: Path) -> None:
    program = script(tmp_path, RECORD.format(tmp_path))
    SiteCommand((program, "--room", "a b"), 20.0).send(letter(name="-x\n"))
    assert (tmp_path / "arguments").read_text().splitlines() == ["--room", "a b"]
    told = json.loads((tmp_path / "body").read_text())
    assert (told["kind"], told["name"]) == ("PROMISED", "-x\n")


def test_one_that_fails_says_why(tmp_path: Path) -> None:
    program = script(tmp_path, "echo no such host >&2; exit 3")
    with pytest.raises(DeliveryError, match="ended with 3: no such host"):
        SiteCommand((program,), 20.0).send(letter())
    with pytest.raises(DeliveryError, match="cannot be run"):
        SiteCommand((str(tmp_path / "none"),), 20.0).send(letter())
    # One that does not read what it is given may be fine all the same.
    SiteCommand((script(tmp_path, "exec <&-; exit 0"),), 20.0).send(letter(name="x" * 1000))


def test_one_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    program = script(tmp_path, f"sleep 300 & echo $! > {tmp_path}/child; wait")
    began = time.monotonic()
    with pytest.raises(DeliveryError, match="did not end within 1 s"):
        SiteCommand((program,), 1.0).send(letter())
    assert time.monotonic() - began < 20
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if _is_gone(child):
            return
        time.sleep(0.1)
    pytest.fail("its child is still there")


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return True


@pytest.fixture
def server() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    seen: list[tuple[str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            seen.append((self.path, self.rfile.read(length)))
            self.send_response(
                302 if "elsewhere" in self.path else 500 if "bad" in self.path else 200
            )
            if "elsewhere" in self.path:
                self.send_header("Location", "/secret")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}", seen
    httpd.shutdown()
    httpd.server_close()


def test_a_web_hook(tmp_path: Path, server: tuple[str, list[tuple[str, bytes]]]) -> None:
    address, seen = server
    file = tmp_path / "webhook"
    file.write_text(f"{address}/token-1\n")
    WebHook(file, 10.0).send(letter())
    assert seen[0][0] == "/token-1"
    assert json.loads(seen[0][1])["kind"] == "PROMISED"
    file.write_text(f"{address}/bad\n")
    with pytest.raises(DeliveryError, match="answers 500"):
        WebHook(file, 10.0).send(letter())
    file.write_text(f"{address}/elsewhere\n")
    with pytest.raises(DeliveryError, match="answers 302"):
        WebHook(file, 10.0).send(letter())
    assert [path for path, _ in seen] == ["/token-1", "/bad", "/elsewhere"]


@pytest.mark.parametrize("text", ["", "file:///etc/passwd", "ftp://x", "https://a\x01b", "ü"])
def test_what_is_no_web_address(tmp_path: Path, text: str) -> None:
    file = tmp_path / "webhook"
    file.write_text(f"{text}\n", encoding="utf-8")
    with pytest.raises(DeliveryError, match="no address|not ASCII"):
        WebHook(file, 10.0).send(letter())


def test_an_address_is_told_to_nobody(tmp_path: Path) -> None:
    file = tmp_path / "webhook"
    file.write_text("http://127.0.0.1:1/token-1\n")
    with pytest.raises(DeliveryError) as caught:
        WebHook(file, 10.0).send(letter())
    assert "token-1" not in str(caught.value)
    with pytest.raises(DeliveryError, match="cannot be read"):
        WebHook(tmp_path / "none", 10.0).send(letter())


def test_slurms_mail_program() -> None:
    assert mail_program({}) == ("/bin/mail", "")
    assert mail_program({"MailProg": "/usr/bin/m", "MailDomain": "(null)"}) == ("/usr/bin/m", "")
    assert mail_program({"MailProg": "(null)", "MailDomain": "a.org"}) == ("/bin/mail", "a.org")

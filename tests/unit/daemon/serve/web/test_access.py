"""Which browsers are answered, and as whom."""

from __future__ import annotations

import pytest

from ef_slurm.api.identity import Transport
from ef_slurm.api.messages import FailureCode
from ef_slurm.api.routes import RequestError
from ef_slurm.daemon.serve.web.access import (
    Asker,
    Peer,
    WebSettings,
    asker,
    check_api,
    check_host,
    check_page,
    is_a_page,
)

PROXIED = WebSettings(
    names=frozenset({"ef.example.org"}),
    user_header="X-Remote-User",
    proxy_uid=33,
    proxies=frozenset({"192.0.2.7"}),
)
ALICE = Peer(Transport.UNIX, 5001, "")
PROXY = Peer(Transport.UNIX, 33, "")


def refused(error: pytest.ExceptionInfo[RequestError]) -> FailureCode:
    return error.value.failure.code


@pytest.mark.parametrize("path", ["/", "/web", "/web/", "/web/now?hours=1", "/web/nothing"])
def test_pages(path: str) -> None:
    assert is_a_page(path)


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1", "/webx", "/metrics", "//web/"])
def test_all_else_is_the_apis(path: str) -> None:
    assert not is_a_page(path)


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:1", "[::1]:8080", "ef.example.org:443"],
)
def test_its_own_names(host: str) -> None:
    check_host({"Host": host}, PROXIED)


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "evil.example:80", "127.0.0.1.evil.example",
     "localhost:80:80", "localhost/", "x@localhost", "127.0.0.2", "[::2]", "ef.example.org.x"],
)  # fmt: skip
def test_any_other_name_may_be_rebound(host: str) -> None:
    with pytest.raises(RequestError) as error:
        check_host({"Host": host}, PROXIED)
    assert refused(error) is FailureCode.DENIED


def test_the_api_is_not_for_other_sites_pages() -> None:
    check_api({}, ALICE, PROXIED)
    check_api({"Sec-Fetch-Site": "none"}, ALICE, PROXIED)
    for headers in (
        {"Origin": "null"},
        {"Origin": "http://localhost:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-origin"},
    ):
        with pytest.raises(RequestError):
            check_api(headers, ALICE, PROXIED)


def test_nor_for_a_proxy() -> None:
    with pytest.raises(RequestError):
        check_api({}, PROXY, PROXIED)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_the_page_only_shows(method: str) -> None:
    with pytest.raises(RequestError) as error:
        check_page(method, {})
    assert refused(error) is FailureCode.NO_SUCH_METHOD


def test_a_link_from_another_site_may_be_followed_and_no_more() -> None:
    check_page("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})
    check_page("GET", {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"})
    for mode in ("no-cors", "cors", "websocket"):
        with pytest.raises(RequestError):
            check_page("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": mode})


def test_on_the_unix_socket_the_kernel_says_who_it_is() -> None:
    assert asker(ALICE, ["root"], PROXIED) == Asker(5001, uid=5001)


def test_of_the_proxy_s_user_the_field_is_believed() -> None:
    assert asker(PROXY, ["alice"], PROXIED).name == "alice"
    assert asker(Peer(Transport.WEB, None, "192.0.2.7"), ["alice"], PROXIED).name == "alice"


@pytest.mark.parametrize("said", [[], [""]])
def test_a_proxy_that_says_nobody_asks_for_nobody(said: list[str]) -> None:
    found = asker(PROXY, said, PROXIED)
    assert found.uid is None
    assert found.name is None


@pytest.mark.parametrize(
    "said", [["alice", "root"], ["alice,root"], ["a b"], ["-x"], ["\x00"], ["x" * 200], ["../x"]]
)
def test_a_field_that_names_nobody_is_refused(said: list[str]) -> None:
    with pytest.raises(RequestError) as error:
        asker(PROXY, said, PROXIED)
    assert refused(error) is FailureCode.DENIED


def test_a_loopback_port_believes_no_field() -> None:
    found = asker(Peer(Transport.WEB, None, "127.0.0.1"), ["root"], PROXIED)
    assert (found.uid, found.name) == (None, None)


@pytest.mark.parametrize("address", ["192.0.2.8", "10.0.0.1", "::ffff:192.0.2.7", "x"])
def test_hosts_that_are_no_proxy_get_nothing(address: str) -> None:
    with pytest.raises(RequestError) as error:
        asker(Peer(Transport.WEB, None, address), ["alice"], PROXIED)
    assert refused(error) is FailureCode.DENIED

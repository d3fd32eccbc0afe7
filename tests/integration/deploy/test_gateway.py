"""The gateway of several recommenders, run by a real nginx in front of stand-ins."""

import contextlib
import http.server
import shutil
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.commands import ROOT
from tests.conftest import free_port, running

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
CONFIGURATION = ROOT / "deploy" / "nginx"
UPSTREAM = """
upstream recommenders {{
    zone recommenders 256k;
    hash $listener consistent;
    {servers}
    keepalive 128;
}}
"""

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not here (Debian: nginx-light)")


class Recommenders:
    """Three stand-ins, and what reached each."""

    def __init__(self) -> None:
        """Listen on free ports."""
        self.reached: dict[int, list[str]] = defaultdict(list)
        self.request_ids: list[str] = []
        self.hang_up = False

        def make_handler(*arguments: Any) -> Handler:
            return Handler(self, *arguments)

        self.servers = [
            http.server.ThreadingHTTPServer(("127.0.0.1", 0), make_handler) for _ in range(3)
        ]
        self.ports = [int(server.server_address[1]) for server in self.servers]

    def find(self, path: str) -> list[int]:
        """Return the ports that a path reached."""
        return [port for port in self.ports for each in self.reached[port] if each == path]


class Handler(http.server.BaseHTTPRequestHandler):
    """Notes what it is asked, and answers or hangs up."""

    protocol_version = "HTTP/1.1"

    def __init__(self, all_of_them: Recommenders, *arguments: Any) -> None:
        """Belong to a stand-in."""
        self.all_of_them = all_of_them
        super().__init__(*arguments)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.all_of_them.request_ids.append(self.headers["X-Request-ID"])
        self.all_of_them.reached[self.server.server_port].append(self.path)  # type: ignore[attr-defined]
        if self.all_of_them.hang_up:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST  # noqa: N815 - the name that the server looks for

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def recommenders() -> Iterator[Recommenders]:
    stand_ins = Recommenders()
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        for server in stand_ins.servers
    ]
    for thread in threads:
        thread.start()
    yield stand_ins
    for server in stand_ins.servers:
        server.shutdown()
        server.server_close()
    for thread in threads:
        thread.join()


@pytest.fixture
def gateway(recommenders: Recommenders, tmp_path: Path) -> Iterator[httpx.Client]:
    """Run nginx with its own configuration: only port, folder and upstream's addresses differ."""
    port = free_port()
    text = (CONFIGURATION / "nginx.conf").read_text().replace("/tmp/", f"{tmp_path}/")
    assert "listen 5001 " in text
    (tmp_path / "nginx.conf").write_text(text.replace("listen 5001 ", f"listen 127.0.0.1:{port} "))
    servers = "\n    ".join(
        f"server 127.0.0.1:{each} max_fails=3 fail_timeout=2s;" for each in recommenders.ports
    )
    (tmp_path / "recommenders.conf").write_text(UPSTREAM.format(servers=servers))
    command = [str(NGINX), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    command += ["-e", "/dev/stderr", "-g", "daemon off; user root;"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(running(command, port=port, log=tmp_path / "log"))
        yield stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{port}"))


def test_a_listener_stays_with_one_recommender(
    gateway: httpx.Client, recommenders: Recommenders
) -> None:
    for user in range(60):
        for path in (f"/next/{user}", f"/next/{user}", f"/last/{user}"):
            assert gateway.post(path, json={}).status_code == 200
    for user in range(60):
        where = recommenders.find(f"/next/{user}") + recommenders.find(f"/last/{user}")
        assert len(set(where)) == 1
    assert min(len(recommenders.reached[port]) for port in recommenders.ports) > 30


def test_listeners_of_one_that_is_gone_go_to_the_others(
    gateway: httpx.Client, recommenders: Recommenders
) -> None:
    recommenders.servers[0].shutdown()
    recommenders.servers[0].server_close()
    answers = [gateway.post(f"/next/{user}", json={}).status_code for user in range(30)]
    assert answers == [200] * 30
    assert all(len(recommenders.find(f"/next/{user}")) == 1 for user in range(30))


def test_a_report_that_was_received_is_not_sent_to_another(
    gateway: httpx.Client, recommenders: Recommenders
) -> None:
    recommenders.hang_up = True
    assert gateway.post("/next/7", json={}).status_code == 502
    assert len(recommenders.find("/next/7")) == 1


def test_a_body_that_is_too_large_reaches_nobody(
    gateway: httpx.Client, recommenders: Recommenders
) -> None:
    assert gateway.post("/next/7", content=b" " * 70_000).status_code == 413
    assert recommenders.find("/next/7") == []


def test_a_request_keeps_its_id_or_gets_one(
    gateway: httpx.Client, recommenders: Recommenders
) -> None:
    gateway.post("/next/7", json={}, headers={"X-Request-ID": "mine-1"})
    gateway.post("/next/7", json={})
    assert recommenders.request_ids[0] == "mine-1"
    assert len(recommenders.request_ids[1]) == 32


def test_other_requests_go_through_but_metrics(
    gateway: httpx.Client, recommenders: Recommenders
) -> None:
    assert gateway.get("/track/12").status_code == 200
    assert len(recommenders.find("/track/12")) == 1
    assert gateway.get("/metrics").status_code == 404
    assert recommenders.find("/metrics") == []


def test_the_stacks_upstream_is_the_tested_one_by_name() -> None:
    text = (CONFIGURATION / "recommenders.conf").read_text()
    servers = "server recommender:5001 resolve max_fails=3 fail_timeout=2s;"
    assert UPSTREAM.format(servers=servers) in text

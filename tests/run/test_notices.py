"""Where a machine is told that it is about to be taken away: AWS's and Google's services, and a file."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pmd_ray.run import notices
from pmd_ray.run.notices import Notices, leaving, looker
from pmd_ray.spec.errors import UserError


class Service(ThreadingHTTPServer):
    """Answers as both metadata services do; `action` and `preempted` are what they say."""

    daemon_threads = True
    action: str | None = None
    preempted = "FALSE"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[str] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_PUT(self) -> None:
        assert self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._say(200, "a token")

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/latest/meta-data/spot/instance-action":
            if self.headers["X-aws-ec2-metadata-token"] != "a token":
                self._say(401, "")
            elif self.server.action is None:
                self._say(404, "")
            else:
                self._say(200, self.server.action)
        elif self.path == "/computeMetadata/v1/instance/preempted" and self.headers["Metadata-Flavor"] == "Google":
            self._say(200, self.server.preempted)
        else:
            self._say(403, "")

    def _say(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    server = Service()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{server.host}/")
    monkeypatch.setenv("GCE_METADATA_HOST", server.host)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # nobody is there
    yield server
    server.shutdown()
    server.server_close()


def test_aws_tells_of_an_interruption(service: Service) -> None:
    look = looker("aws")
    assert not look()
    service.action = '{"action": "terminate", "time": "2026-01-01T00:00:00Z"}'
    assert look()
    assert set(service.asked) == {"/latest/meta-data/spot/instance-action"}


def test_google_tells_of_a_preemption(service: Service) -> None:
    look = looker("gcp")
    assert not look()
    service.preempted = "TRUE\n"
    assert look()


def test_a_file_says_so(tmp_path: Path) -> None:
    look = looker(f"file:{tmp_path / 'leaving'}")
    assert not look()
    (tmp_path / "leaving").touch()
    assert look()


def test_a_service_that_is_not_there_says_nothing(service: Service) -> None:
    service.shutdown()
    service.server_close()
    for where in ("aws", "gcp"):
        with pytest.raises(OSError):
            looker(where)()


@pytest.mark.parametrize("where", ["azure", "file", "file:", "aws:x", "AWS"])
def test_a_place_that_nobody_knows(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(notices.WHERE, where)
    with pytest.raises(UserError, match=f"PMD_NOTICE must be aws, gcp or file:PATH, got '{where}'"):
        leaving()


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_what_was_told_stays_told_where_nobody_answers() -> None:
    answers: Iterator[bool | None] = iter([False, True, None, None, False])
    asked = 0

    def look() -> bool:
        nonlocal asked
        asked += 1
        answer = next(answers, False)
        if answer is None:
            assert told(), "no answer says nothing"
            raise OSError
        return answer

    told = Notices(look, every_s=0.01)
    until(lambda: asked >= 5)
    until(lambda: not told())


def test_nobody_looks_unless_asked_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(notices.WHERE, raising=False)
    assert not leaving()
    monkeypatch.setattr(notices, "LOOK_EVERY_S", 0.01)
    monkeypatch.setenv(notices.WHERE, f"file:{tmp_path / 'leaving'}")
    (tmp_path / "leaving").touch()
    until(leaving)

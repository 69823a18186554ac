"""A small S3 server for one test: what `pyarrow.fs.S3FileSystem` asks of one, from memory, without looking at keys.

`refuse` is asked before every request and may answer it with an HTTP status, or do something first.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

Refuse = Callable[[str, str], int | None]
"""Method and object name to an HTTP status, or None."""


class SmallS3(ThreadingHTTPServer):
    """Buckets are made by writing into them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.parts: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        self.refuse: Refuse = lambda method, name: None
        self.lock = threading.Lock()

    def uri(self, path: str) -> str:
        port = self.server_address[1]
        return f"s3://key:secret@{path}?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"

    def names(self, prefix: str = "") -> list[str]:
        """Objects, without the empty ones that mark folders."""
        return sorted(name for name in self.objects if name.startswith(prefix) and not name.endswith("/"))

    def age(self, prefix: str, seconds: float) -> None:
        """Make objects older than they are."""
        for name in self.names(prefix):
            data, time = self.objects[name]
            self.objects[name] = data, datetime.fromtimestamp(time.timestamp() - seconds, UTC)


@contextmanager
def small_s3() -> Iterator[SmallS3]:
    server = SmallS3()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for an answer
    disable_nagle_algorithm = True
    server: SmallS3

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle_expect_100(self) -> bool:
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:  # a client that was killed
            self.close_connection = True

    def _begin(self) -> tuple[str, dict[str, str], bytes] | None:
        parts = urlsplit(self.path)
        name = unquote(parts.path).lstrip("/")
        query = {key: values[0] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        body = self._body()
        self.server.requests.append((self.command, name))
        status = self.server.refuse(self.command, name)
        if status is not None:
            code = {403: "AccessDenied", 404: "NoSuchBucket", 507: "InsufficientStorage"}.get(status, "InternalError")
            self._send(status, f"<Error><Code>{code}</Code><Message>refused</Message></Error>".encode())
            return None
        return name, query, body

    def do_HEAD(self) -> None:
        if found := self._begin():
            self._object(found[0], body=False)

    def do_GET(self) -> None:
        if found := self._begin():
            name, query, _ = found
            if "list-type" in query:
                self._list(name.strip("/"), query)
            else:
                self._object(name, body=True)

    def do_PUT(self) -> None:
        if not (found := self._begin()):
            return
        name, query, body = found
        source = unquote(self.headers.get("x-amz-copy-source", "")).lstrip("/")
        tag = f'"{hashlib.md5(body).hexdigest()}"'
        if source:
            if source not in self.server.objects:
                self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
                return
            self.server.objects[name] = (self.server.objects[source][0], datetime.now(UTC))
            self._send(200, f"<CopyObjectResult><ETag>{tag}</ETag></CopyObjectResult>".encode())
        elif "uploadId" in query:
            self.server.parts[query["uploadId"]][int(query["partNumber"])] = body
            self._send(200, b"", ETag=tag)
        else:
            self.server.objects[name] = (body, datetime.now(UTC))
            self._send(200, b"", ETag=tag)

    def do_POST(self) -> None:
        if not (found := self._begin()):
            return
        name, query, body = found
        if "uploads" in query:
            with self.server.lock:
                upload = f"upload{len(self.server.parts)}"
                self.server.parts[upload] = {}
            self._send(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        elif "uploadId" in query:
            parts = self.server.parts[query["uploadId"]]
            self.server.objects[name] = (b"".join(parts[n] for n in sorted(parts)), datetime.now(UTC))
            self._send(200, b"<CompleteMultipartUploadResult><ETag>x</ETag></CompleteMultipartUploadResult>")
        else:
            bucket = name.strip("/")
            for key in re.findall(r"<Key>(.*?)</Key>", body.decode(), re.DOTALL):
                self.server.objects.pop(f"{bucket}/{key}", None)
            self._send(200, b"<DeleteResult></DeleteResult>")

    def do_DELETE(self) -> None:
        if found := self._begin():
            self.server.objects.pop(found[0], None)
            self._send(204, b"")

    def _object(self, name: str, *, body: bool) -> None:
        found = self.server.objects.get(name)
        if found is None:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>" if body else b"")
            return
        data, time = found
        status, length = 200, len(data)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        more = {"Last-Modified": format_datetime(time, usegmt=True), "ETag": '"x"'}
        if wanted and body:
            start, end = int(wanted[1]), min(int(wanted[2] or length - 1), length - 1)
            more["Content-Range"] = f"bytes {start}-{end}/{length}"
            status, data = 206, data[start : end + 1]
        self._send(status, data if body else b"", length=None if body else length, **more)

    def _list(self, bucket: str, query: dict[str, str]) -> None:
        prefix, mark = query.get("prefix", ""), query.get("delimiter", "")
        lines: dict[str, str] = {}
        with self.server.lock:
            objects = dict(self.server.objects)
        for full, (data, time) in sorted(objects.items()):
            place, _, key = full.partition("/")
            if place != bucket or not key.startswith(prefix):
                continue
            below = key[len(prefix) :]
            if mark and mark in below:
                common = prefix + below.partition(mark)[0] + mark
                lines[common] = f"<CommonPrefixes><Prefix>{escape(common)}</Prefix></CommonPrefixes>"
            else:
                when = time.strftime("%Y-%m-%dT%H:%M:%S.000Z")
                lines[key] = (
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size>"
                    f"<LastModified>{when}</LastModified><ETag>x</ETag></Contents>"
                )
        most = int(query.get("max-keys", "1000"))
        body = "".join(list(lines.values())[:most])
        head = f"<Name>{bucket}</Name><KeyCount>{min(most, len(lines))}</KeyCount><IsTruncated>false</IsTruncated>"
        self._send(200, f"<ListBucketResult>{head}{body}</ListBucketResult>".encode())

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            raw = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                raw += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return _unpacked(raw) if "x-amz-decoded-content-length" in self.headers else raw

    def _send(self, status: int, data: bytes, *, length: int | None = None, **headers: Any) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.send_header("x-amz-request-id", "1")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _unpacked(raw: bytes) -> bytes:
    """The bytes in a body of AWS's own chunks: size in hexadecimal, then that many bytes."""
    data, at = b"", 0
    while True:
        end = raw.index(b"\r\n", at)
        size = int(raw[at:end].split(b";")[0], 16)
        if not size:
            return data
        data += raw[end + 2 : end + 2 + size]
        at = end + 2 + size + 2

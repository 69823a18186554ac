"""Whether this machine is about to be taken away: what clouds tell a spot machine minutes or seconds before.

`PMD_NOTICE` says where to look; without it nobody does:

- `aws`: the instance metadata service (`spot/instance-action`), two minutes before. `AWS_EC2_METADATA_SERVICE_ENDPOINT`
  is heeded.
- `gcp`: the metadata server (`instance/preempted`), 30 seconds before. `GCE_METADATA_HOST` is heeded.
- `file:PATH`: there is such a file, as a `preStop` hook of a Kubernetes pod makes one.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

from pmd_ray.spec.errors import UserError

WHERE = "PMD_NOTICE"
LOOK_EVERY_S = 5.0
ANSWER_S = 2.0
"""A metadata service is on the machine itself: one that does not answer in that time is not there."""
TOKEN_S = 3600
"""For which a token of AWS's service is good."""


class Notices:
    """Looks now and then, in a thread of its own; true once it was told, until it is told otherwise."""

    def __init__(self, look: Callable[[], bool], *, every_s: float = LOOK_EVERY_S) -> None:
        self._look, self._every_s = look, every_s
        self._told = False
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name="notices", daemon=True).start()

    def __call__(self) -> bool:
        return self._told

    def close(self) -> None:
        """Look no more."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.is_set():
            # No answer says nothing: what was told stays told.
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._told = self._look()
            self._closed.wait(self._every_s)


def leaving() -> bool:
    """Whether this machine is about to be taken away, as far as anybody says so.

    Raises:
        UserError: `PMD_NOTICE` names no place to look.
    """
    where = os.environ.get(WHERE, "")
    return bool(where) and _notices(where)()


@lru_cache(maxsize=4)
def _notices(where: str) -> Notices:
    return Notices(looker(where))


def looker(where: str) -> Callable[[], bool]:
    """What looks there; OSError, HTTPException or ValueError where nothing is known.

    Raises:
        UserError: no such place.
    """
    match where.split(":", 1):
        case ["aws"]:
            return _aws
        case ["gcp"]:
            return _gcp
        case ["file", path] if path:
            return Path(path).exists
        case _:
            raise UserError(f"{WHERE} must be aws, gcp or file:PATH, got '{where}'")


def _aws() -> bool:
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
    asking = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_S)}
    token = _asked(f"{base}/latest/api/token", asking, method="PUT")
    try:
        _asked(f"{base}/latest/meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token})
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.NOT_FOUND:  # no action is planned
            return False
        raise
    return True


def _gcp() -> bool:
    host = os.environ.get("GCE_METADATA_HOST", "metadata.google.internal")
    said = _asked(f"http://{host}/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
    return said.strip().upper() == "TRUE"


def _asked(url: str, headers: dict[str, str], *, method: str = "GET") -> str:
    request = urllib.request.Request(url, headers=headers, method=method)
    # Never by a proxy: it would ask its own machine's service.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=ANSWER_S) as answer:
        text: str = answer.read().decode()
    return text

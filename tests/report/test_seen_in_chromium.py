"""Page and TensorBoard as a browser shows them (make test-slow). PMD_PICTURES=DIR keeps the screenshots."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report.browser import Browser, browser
from report.synthetic_study import make_study

from pmd_ray.report.study_report import write_report
from pmd_ray.spec.attempt import AttemptState, FailureKind

pytestmark = pytest.mark.slow
RUNS = 3 * (6 + 6 + 6 + 3) - 1 + 4 * 3
"""Stages of all chains but the one that failed, and a summary for each chain."""
SIDEWAYS = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
OVERFLOWING = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 120))"""
COVERED = """(() => {
  const found = [];
  for (const svg of document.querySelectorAll('svg')) {
    const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
    for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
      const [a, b] = [boxes[i][1], boxes[j][1]];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 2 && down > 3) found.push(boxes[i][0] + ' / ' + boxes[j][0]);
    }
  }
  return found;
})()"""
CONTRAST = """(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = light(getComputedStyle(document.body).backgroundColor);
  return Math.min(...[...document.querySelectorAll('p, td, th, li, dd, dt, a, summary, .sd, .users')].map(e => {
    const ink = light(getComputedStyle(e).color);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
  }));
})()"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with everything in it, a failure too."""
    made = make_study(
        tmp_path_factory.mktemp("seen"),
        without=lambda run, use: (run.variant, use.grade, run.seed) == ("fixed_10", "3", 2),
        triples=400,
    )
    attempt = made.store.begin(made.key("fixed_10", "3", 2), study="synthetic")
    attempt.end(AttemptState.FAILED, FailureKind.NOT_FINITE, FloatingPointError("loss is nan in step 41"), seconds=7.0)
    write_report(made.record, made.store, made.folder)
    return made.folder


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


def picture(page: Browser, name: str, tmp_path: Path, *, whole: bool = True) -> bytes:
    folder = Path(os.environ.get("PMD_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return page.picture(folder / f"{name}.png", whole=whole)


@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, False), (1200, True), (390, True)])
def test_the_page_fits_and_can_be_read(chromium: Browser, run: Path, tmp_path: Path, width: int, dark: bool) -> None:
    chromium.open((run / "report.html").as_uri(), width=width, dark=dark)
    image = picture(chromium, f"page_{width}{'_dark' if dark else ''}", tmp_path)
    assert len(image) > 100_000
    assert chromium.run(SIDEWAYS) == 0
    assert chromium.run(OVERFLOWING) == []
    assert chromium.run(COVERED) == []
    assert chromium.run(CONTRAST) >= 4.5
    assert chromium.exceptions == []
    assert chromium.run("document.querySelectorAll('svg').length") == 3
    assert chromium.run("[...document.querySelectorAll('svg')].every(e => e.getBoundingClientRect().width >= 340)")
    assert chromium.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(22, 24, 26)" if dark else "rgb(255, 255, 255)"
    )


def test_no_name_became_markup_and_nothing_was_asked_of_a_network(chromium: Browser, run: Path) -> None:
    chromium.open((run / "report.html").as_uri(), width=1200)
    assert chromium.run("document.scripts.length") == 0
    assert "<script>alert(1)</script>" in chromium.text()
    assert chromium.run("performance.getEntriesByType('resource').map(e => e.name)") == []


def test_wide_tables_scroll_in_their_own_box_with_the_variant_in_sight(chromium: Browser, run: Path) -> None:
    chromium.open((run / "report.html").as_uri(), width=390)
    box = "document.querySelector('#grades .scroll')"
    assert chromium.run(f"{box}.scrollWidth > {box}.clientWidth")
    chromium.run(f"{box}.scrollLeft = 400")
    assert chromium.run(f"{box}.querySelector('tbody th').getBoundingClientRect().left") >= 0


def test_the_failure_is_told(chromium: Browser, run: Path) -> None:
    chromium.open((run / "report.html").as_uri(), width=1200)
    assert chromium.run("document.querySelector('#failures details').open")
    assert "FloatingPointError: loss is nan in step 41" in chromium.run("document.querySelector('#failures').innerText")


@pytest.fixture(scope="module")
def board(run: Path) -> Iterator[str]:
    """TensorBoard over the report's runs; its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run / "tensorboard"), "--port", "0"]
    command += ["--host", "127.0.0.1", "--load_fast", "false"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
        until = time.monotonic() + 120
        while len(ask(address, "runs")) < RUNS:  # the page shows what is loaded when it is opened
            assert time.monotonic() < until
            time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def ask(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{address}/data/{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_scalars_lie_side_by_side(chromium: Browser, board: str, tmp_path: Path) -> None:
    chromium.open(f"{board}/#timeseries", width=1400)
    for name in ("direct/seed-0/3", "baseline/seed-0/teacher"):
        chromium.wait_for(name)
    for words in ("/total", "/hits@1", "29 sec"):  # the last: a value of a curve at its last step, after 29 seconds
        chromium.wait_for(words)
    assert len(picture(chromium, "tensorboard_scalars", tmp_path, whole=False)) > 20_000
    assert len(ask(board, "runs")) == RUNS


def test_hparams_are_filled(chromium: Browser, board: str, tmp_path: Path) -> None:
    found = ask(board, "plugin/hparams/session_groups", {
        "experimentName": "", "allowedStatuses": ["STATUS_SUCCESS", "STATUS_FAILURE"], "startIndex": 0, "sliceSize": 50,
        "colParams": [{"metric": {"tag": "test/mrr", "group": ""}}],
    })  # fmt: skip
    groups = found["sessionGroups"]
    assert found["totalSize"] == 12 and {group["hparams"]["variant"] for group in groups} == {
        "baseline",
        "no_mgfd",
        "fixed_10",
        "direct",
    }
    told = {(g["hparams"]["variant"], g["hparams"]["seed"]): g["metricValues"] for g in groups}
    tags = {value["name"]["tag"] for value in told["direct", 1.0]}
    assert tags == {"test/mrr", "test/hits@1", "test/hits@3", "test/hits@10", "valid/mrr"}
    assert not told.get(("fixed_10", 2.0))
    chromium.open(f"{board}/#hparams", width=1400)
    for words in ("no_mgfd", "12,12,6,3", "0.2,0.1,0", "test/mrr", "mask.rate"):
        chromium.wait_for(words)
    assert len(picture(chromium, "tensorboard_hparams", tmp_path, whole=False)) > 20_000

"""`pmd submit`, `pmd logs` on a pretended cluster: what is sent, what is refused before, what comes back."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reference.pretend_cluster import HEAD, PretendCluster, worker
from reference.tiny import write_config, write_graph

from pmd_ray.run.job_server import Job, Unreachable
from pmd_ray.store.store import Store

Pmd = Callable[..., Any]
STUDY = """\
name: tiny
baseline: chain.yaml
variants: {no_mgfd: {loss.beta: 0.0}}
seeds: [0]
"""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> PretendCluster:
    """Whatever address is asked for, this cluster answers."""
    pretended = PretendCluster()

    def connect(address: str) -> PretendCluster:
        pretended.address = address
        return pretended

    monkeypatch.setattr("pmd_ray.run.ray_jobs.connect", connect)
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "PMD_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    return pretended


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study over a graph in a folder, and a store that this machine sees."""
    (tmp_path / "chain.yaml").write_text(
        f"layers: [2, 1]\nencoder: {{name: scratch}}\ndataset: {{source: {write_graph(tmp_path / 'graph')}}}\n",
        encoding="utf-8",
    )
    (tmp_path / "tiny.yaml").write_text(STUDY, encoding="utf-8")
    Store.open(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_study_is_sent_with_its_chain_and_its_graph_is_published(
    pmd: Pmd, cluster: PretendCluster, study: Path
) -> None:
    store = study / "store"
    done = pmd("submit", "ablate", "tiny.yaml", "--storage", store, "--device", "cpu", "--cpus", 2, "--slots", 3)
    assert done.code == 0, done.err
    (sent,) = cluster.sent
    assert set(sent.files) == {"tiny.yaml", "chain.yaml"}
    (graph,) = Store.open(store).datasets.all()
    words = shlex.split(sent.entrypoint)
    assert words[:5] == ["python", "-m", "pmd_ray", "ablate", "tiny.yaml"]
    assert f"dataset.source={graph.source}" in words
    assert f"--device cpu --cpus 2 --workers 1 --slots 3 --out ~/pmd_ray/runs/tiny --storage {store}" in sent.entrypoint
    assert sent.id.startswith("pmd-tiny-") and sent.resources == {}
    assert sent.metadata == {"verb": "ablate", "name": "tiny", "run": "tiny", "storage": str(store)}
    assert done.out == "one\ntwo\n"
    assert "ended well" in done.err and f"pmd fetch tiny --storage {store}" in done.err


@pytest.mark.parametrize(
    ("state", "exit_code", "code"), [("SUCCEEDED", 0, 0), ("FAILED", 1, 1), ("FAILED", 2, 2), ("STOPPED", None, 130)]
)
def test_the_exit_code_is_the_jobs(
    pmd: Pmd, cluster: PretendCluster, state: str, exit_code: int | None, code: int
) -> None:
    cluster.ends = Job(id="", state=state, entrypoint="", exit_code=exit_code)
    assert pmd("submit", "ablate", "quickstart", "--storage", "s3://bucket/x").code == code


def test_a_storage_of_the_cluster_needs_no_word(pmd: Pmd, cluster: PretendCluster) -> None:
    assert pmd("submit", "search", "quickstart", "--at-once", 2).code == 0
    (sent,) = cluster.sent
    assert '--storage "${PMD_STORAGE:?' in sent.entrypoint and "--at-once 2" in sent.entrypoint
    assert "~/pmd_ray/runs/search-quickstart" in sent.entrypoint
    assert "PMD_STORAGE" not in sent.runtime_env["env_vars"]


def test_a_chain_trains_where_there_is_room(pmd: Pmd, cluster: PretendCluster) -> None:
    cluster.looks = [[HEAD, worker(4, gpus=1)]]
    out = ("--out", "/shared/demo")
    assert pmd("submit", "distill", "demo", "--gpu", "--storage", "s3://bucket/x", *out).code == 0
    (sent,) = cluster.sent
    assert sent.resources == {"CPU": 1.0, "GPU": 1.0}
    assert "--workers 1 --gpu --out /shared/demo" in sent.entrypoint
    assert sent.runtime_env["env_vars"]["PMD_STORAGE"] == "s3://bucket/x"
    for workers in ("1", "2"):
        refused = pmd("submit", "distill", "demo", "--workers", workers)
        assert refused.code == 2 and "that all nodes mount with --out DIR" in refused.err
    assert pmd("submit", "distill", "demo", "--workers", 2, *out).code == 0
    assert cluster.sent[1].resources == {} and cluster.sent[1].entrypoint.endswith("--out /shared/demo")


def test_a_chain_of_one_worker_has_no_choice_of_nodes(pmd: Pmd, cluster: PretendCluster) -> None:
    done = pmd("submit", "distill", "demo", "--out", "/shared/chain", "--workers", "1,pmd-ray/market=spot")
    assert done.code == 2 and "would choose among the nodes" in done.err and not cluster.sent


def test_a_detached_one_says_how_to_come_back(pmd: Pmd, cluster: PretendCluster) -> None:
    done = pmd("submit", "ablate", "quickstart", "--detach", "--json", "--address", "head:8265")
    assert done.code == 0
    assert done.json["address"] == "http://head:8265" and done.json["job"] == cluster.sent[0].id
    for word in ("pmd logs", "pmd status", "ray job stop"):
        assert word in done.err


def test_json_is_one_object(pmd: Pmd, cluster: PretendCluster) -> None:
    cluster.ends = Job(id="", state="FAILED", entrypoint="", exit_code=2)
    done = pmd("submit", "ablate", "quickstart", "--json")
    assert done.code == 2
    assert (done.json["state"], done.json["exit_code"], done.json["name"]) == ("FAILED", 2, "quickstart")
    assert "one\ntwo" in done.err


def test_gpus_are_taken_where_there_are_some(pmd: Pmd, cluster: PretendCluster) -> None:
    cluster.looks = [[HEAD, worker(4, gpus=1)]]
    pmd("submit", "ablate", "quickstart")
    assert "--device cuda" in cluster.sent[0].entrypoint and "--gpus 1" in cluster.sent[0].entrypoint


def test_a_cluster_without_workers_does_not_tell_its_device(pmd: Pmd, cluster: PretendCluster) -> None:
    """GPU machines that come for their cores would train on CPUs, at their price."""
    cluster.looks, cluster.growing = [[HEAD]], True
    refused = pmd("submit", "ablate", "quickstart")
    assert refused.code == 2 and "say --device cuda or --device cpu" in refused.err and not cluster.sent
    assert pmd("submit", "ablate", "quickstart", "--device", "cuda", "--wait-workers", 0).code == 0
    assert "--device cuda" in cluster.sent[0].entrypoint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--storage", "runs/store"), "give an absolute path that all of them mount"),
        (("--storage", "s3://KEY:hidden@bucket/x"), "the address holds a secret"),
        (("--device", "gpu"), "--device must be cpu, cuda or auto"),
        (("--device", "cuda"), "no GPU in the cluster"),
        (("--gpus", "1"), "stages are trained on CPUs"),
        (("--out", "runs/q"), "the job starts in a folder of its own"),
        (("--out", "~/runs/q"), "give an absolute path"),
        (("--cpus", "64", "--wait-workers", "0"), "the workers did not come within 0 s"),
        (("--workers", "two"), "--workers must be a number"),
        (("--set", "seeds=[]"), "seeds: missing"),
        (("--address", "ray://head:10001"), "give its address, as in http://"),
    ],
)
def test_what_will_not_do_is_refused_before_anything_is_sent(
    pmd: Pmd, cluster: PretendCluster, options: tuple[str, ...], words: str
) -> None:
    done = pmd("submit", "ablate", "quickstart", *options)
    assert done.code == 2 and words in done.err, done.err
    assert "hidden" not in done.err + done.out
    assert not cluster.sent


def test_a_cluster_of_other_versions_is_refused(pmd: Pmd, cluster: PretendCluster) -> None:
    cluster.told_versions["python"] = "3.8.1"
    done = pmd("submit", "ablate", "quickstart")
    assert done.code == 2 and "has Python 3.8.1" in done.err and not cluster.sent


def test_nobody_there(pmd: Pmd, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(address: str) -> Any:
        raise Unreachable(f"nobody answers at {address}")

    monkeypatch.setattr("pmd_ray.run.ray_jobs.connect", connect)
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # of another kind: not where jobs are sent
    done = pmd("submit", "ablate", "quickstart")
    assert done.code == 2 and "nobody answers at http://127.0.0.1:8265" in done.err
    monkeypatch.setenv("RAY_ADDRESS", "http://10.0.0.1:8265/")
    assert "nobody answers at http://10.0.0.1:8265\n" in pmd("logs", "x").err
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://10.0.0.2:8265")
    assert "nobody answers at http://10.0.0.2:8265\n" in pmd("logs", "x").err


def test_a_graph_that_cannot_be_published_is_not_sent(pmd: Pmd, cluster: PretendCluster, study: Path) -> None:
    done = pmd("submit", "ablate", "tiny.yaml", "--storage", study / "elsewhere")
    assert done.code == 2 and "is not seen" in done.err
    assert pmd("submit", "ablate", "tiny.yaml").code == 2
    assert not cluster.sent and not (study / "elsewhere").exists()


def test_ctrl_c_ends_the_following_not_the_job(
    pmd: Pmd, cluster: PretendCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pmd_ray.run.jobs.follow", interrupted)
    done = pmd("submit", "ablate", "quickstart")
    assert done.code == 130
    assert f"no longer followed, the job goes on; pmd logs {cluster.sent[0].id} --follow" in done.err


def test_logs_of_a_job_by_its_name(pmd: Pmd, cluster: PretendCluster) -> None:
    cluster.ends = Job(id="", state="FAILED", entrypoint="", exit_code=1)
    pmd("submit", "ablate", "quickstart", "--detach")
    once = pmd("logs", "quickstart")
    assert (once.code, once.out) == (0, "one\ntwo\n")
    followed = pmd("logs", cluster.sent[0].id, "--follow")
    assert (followed.code, followed.out) == (1, "one\ntwo\n") and "failed" in followed.err
    assert "no job 'other'" in pmd("logs", "other").err


def test_status_of_a_job(pmd: Pmd, cluster: PretendCluster) -> None:
    cluster.ends = Job(
        id="", state="FAILED", entrypoint="", message="out of luck", exit_code=1, started=0.0, ended=60.0
    )
    pmd("submit", "ablate", "quickstart", "--detach")
    told = pmd("status", "quickstart", "--address", "head:8265", "--json").json
    assert (told["job"], told["state"], told["exit_code"]) == (cluster.sent[0].id, "FAILED", 1)
    assert (told["started"], told["ended"]) == ("1970-01-01T00:00:00+00:00", "1970-01-01T00:01:00+00:00")
    shown = pmd("status", cluster.sent[0].id, "--address", "head:8265").out
    assert "out of luck" in shown and "python -m pmd_ray ablate quickstart.yaml" in shown
    nowhere = pmd("status", "quickstart")
    assert nowhere.code == 2 and "--storage PLACE" in nowhere.err and "--address URL" in nowhere.err


def test_what_a_job_prints_is_shown_not_obeyed(pmd: Pmd, cluster: PretendCluster) -> None:
    cluster.pieces = ("\x1b[2Jgone\n",)
    assert pmd("submit", "ablate", "quickstart").out == "<U+001B>[2Jgone\n"


def test_a_missing_chain_file_is_an_error_of_the_study(pmd: Pmd, cluster: PretendCluster, tmp_path: Path) -> None:
    file = write_config(tmp_path, "x.yaml", STUDY)
    done = pmd("submit", "ablate", file)
    assert done.code == 2 and "no chain file 'chain.yaml'" in done.err and not cluster.sent

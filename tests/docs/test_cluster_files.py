"""The ready files for training on several machines, with stand-ins for the programs they call."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
import yaml

from rnnseg.cli import main
from rnnseg.training import workers

FILES = pathlib.Path(__file__).parents[2] / "docs" / "clusters"
# Every program prints, in one line, what it was called with.
PROGRAMS = {
    "rnnseg": 'echo "train ${TF_CONFIG:-alone} ${CUDA_VISIBLE_DEVICES:-} $*" >> "$RECORD"',
    "ssh": 'echo "ssh $2" >> "$RECORD"; bash -c "$3"',
    "scontrol": '[ "$*" = "show hostnames host[4-5]" ] && printf "host4\\nhost5\\n"',
    "srun": 'shift; for rank in 0 1; do SLURM_PROCID=$rank "$@" || exit; done',
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs a command where the files are, and returns what was called."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/bin/bash\n{body}\n")
        (programs / name).chmod(0o755)
    shutil.copytree(FILES, tmp_path / "shared")

    def run_it(*command, **environment):
        record = tmp_path / "record"
        record.write_text("")
        paths = {"PATH": f"{programs}:{os.environ['PATH']}", "RECORD": str(record)}
        subprocess.run(
            command, check=True, cwd=tmp_path / "shared", env=os.environ | paths | environment
        )
        return record.read_text().splitlines()

    return run_it


def check_workers(lines, addresses, monkeypatch):
    """Every worker has its TF_CONFIG, and a command that `rnnseg` has."""
    clusters = []
    for line in lines:
        config, end = json.JSONDecoder().raw_decode(line.removeprefix("train "))
        monkeypatch.setenv("TF_CONFIG", json.dumps(config))
        clusters.append(workers.read_cluster())
        check_command(line.removeprefix("train ")[end:].split())
    clusters.sort(key=lambda each: each.index)
    assert clusters == [workers.Cluster(index, addresses) for index in range(len(addresses))]


def check_command(words):
    assert words[0] == "train" and "--resume" in words
    command = main.get_command(None, "train")
    command.make_context("train", words[1:])


def test_one_machine(run):
    (line,) = run("bash", "one_machine.sh")
    assert line.startswith("train alone 0,1,2,3 ")
    check_command(line.split()[3:])


def test_machines_by_hand(run, monkeypatch):
    lines = run("bash", "machines.sh", "a", "b", "c")
    assert sorted(line for line in lines if line.startswith("ssh")) == ["ssh a", "ssh b", "ssh c"]
    trained = [line for line in lines if line.startswith("train")]
    check_workers(trained, ("a:2222", "b:2222", "c:2222"), monkeypatch)


def test_machines_fail_together(run):
    with pytest.raises(subprocess.CalledProcessError):
        run("bash", "machines.sh", "a", "b", RECORD="/nowhere/record")


def test_slurm(run, monkeypatch):
    lines = run("bash", "slurm.sh", SLURM_JOB_ID="123456", SLURM_JOB_NODELIST="host[4-5]")
    check_workers(lines, ("host4:23456", "host5:23456"), monkeypatch)


def test_kubernetes(run, monkeypatch):
    service, job = yaml.safe_load_all((FILES / "kubernetes.yaml").read_text())
    template = job["spec"]["template"]["spec"]
    (container,) = template["containers"]
    lines = []
    for index in range(job["spec"]["completions"]):
        lines += run(*container["command"], JOB_COMPLETION_INDEX=str(index))
    port = service["spec"]["ports"][0]["port"]
    # Kubernetes calls the pods of such a job JOB-INDEX.SUBDOMAIN, if a service has that name.
    name = job["metadata"]["name"]
    assert template["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    addresses = tuple(f"{name}-{index}.{template['subdomain']}:{port}" for index in range(2))
    check_workers(lines, addresses, monkeypatch)
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in template["volumes"]}

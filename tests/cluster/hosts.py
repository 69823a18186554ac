"""Hosts of our own on one machine: name spaces of network, processes and mounts, an SSH server, a shared folder.

Each has a disk of its own (its HOME and /tmp), /dev/shm, name, and virtual environment; all see one folder as
/srv/pmd_ray. A client, the machine that a user sits at, holds the bridge between them. Everything ends with the process
that made it, however that ends: hosts are children that die with it, and mounts, links and addresses go with the hosts.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster.needs import found

CHECKOUT = Path(__file__).resolve().parents[2]
SHARED = "/srv/pmd_ray"
HOME = "/srv/disk/home"
NETWORK = "10.77.0"
CLIENT = "client"
BOOT_S = 30.0
DISK = "1500m"
"""Of each host: its HOME and /tmp."""
SHM = "1200m"
SPACES = ("--mount", "--uts", "--net", "--pid")

BOOT = """\
set -e
hostname {name}
ip link set lo up
mount -t tmpfs -o size=1m,mode=755 places /srv
mkdir {shared} /srv/disk
mount --bind {folder}/shared {shared}
mount -t tmpfs -o size={disk},mode=755 disk /srv/disk
mkdir -p {home}/.ssh {home}/pmd_ray {home}/work
touch {home}/.bashrc
mkdir -m 1777 /srv/disk/tmp
for kept in {folder} {checkout}; do
  case $kept in /tmp/*) mkdir -p /srv/disk$kept; mount --bind $kept /srv/disk$kept;; esac
done
mount --rbind /srv/disk/tmp /tmp
mount --bind {folder}/passwd /etc/passwd
mount --bind {folder}/hosts /etc/hosts
mount --bind {folder}/nsswitch.conf /etc/nsswitch.conf
mount -t tmpfs -o size={shm},mode=1777 shm /dev/shm
mount -t tmpfs -o size=10m,mode=755 run /run
mkdir /run/sshd
install -m 600 {folder}/key {home}/.ssh/id_ed25519
install -m 600 {folder}/key.pub {home}/.ssh/authorized_keys
{further}
touch {folder}/{name}.ready
exec {init}
"""
OF_THE_CLIENT = """\
ln -s {venv} {home}/pmd_ray/venv
ip link add bridge0 type bridge
ip addr add {address}/24 dev bridge0
ip link set bridge0 up
"""
OF_A_HOST = """\
{venv}/bin/python -m venv --without-pip {home}/pmd_ray/venv
echo {packages} > {home}/pmd_ray/venv/{packages_in_venv}/outside.pth
for program in pip:pip ray:ray.scripts.scripts; do
  file={home}/pmd_ray/venv/bin/${{program%%:*}}
  printf '#!/bin/sh\nexec "$(dirname "$0")/python" -m %s "$@"\n' "${{program##*:}}" > "$file"
  chmod 755 "$file"
done
mkdir -p {home}/.config/pip
printf '[global]\nno-index = true\n' > {home}/.config/pip/pip.conf
"""
"""A virtual environment that finds the packages of ours, but not this checkout: the wheel is installed into it. Nothing
can be downloaded."""
SSHD = """\
Port 22
HostKey {folder}/hostkey
AuthorizedKeysFile {home}/.ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
Subsystem sftp internal-sftp
"""


@dataclass(frozen=True)
class Host:
    """One of them, or the client."""

    name: str
    address: str
    pid: int
    """Of its first process, seen from outside."""

    def command(self, *words: str, env: Mapping[str, str] | None = None) -> list[str]:
        """A command line that runs there, in ~/work, with its own environment and nothing of ours.

        Not in its HOME: there Python would take the folder ~/pmd_ray for the package of that name.
        """
        given = {"HOME": HOME, "PATH": os.defpath + ":/usr/sbin:/sbin", "LANG": "C.UTF-8"}
        variables = [f"{name}={value}" for name, value in {**given, **(env or {})}.items()]
        inside = ["env", "-i", *variables, "sh", "-c", 'cd "$HOME/work" && exec "$@"', "sh", *words]
        return ["nsenter", "--target", str(self.pid), *SPACES, *inside]

    def run(
        self, *words: str, timeout: float = 300, env: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end; AssertionError with what it said where it fails."""
        line = self.command(*words, env=env)
        done = subprocess.run(line, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise AssertionError(
                f"{self.name}: {shlex.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"[-6000:]
            )
        return done

    def start(self, *words: str, log: Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a command there; what it says goes to a file of ours."""
        with log.open("ab") as opened:
            return subprocess.Popen(
                self.command(*words, env=env), stdout=opened, stderr=opened, stdin=subprocess.DEVNULL
            )

    def sees(self, path: str) -> Path:
        """A path of its, to be read and written from outside; an absolute link in it would lead to our own files."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def processes(self) -> dict[int, str]:
        """Its processes with their command lines, by their numbers outside."""
        mine, every = Path(f"/proc/{self.pid}/ns/pid").readlink(), dict[int, str]()
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if (place / "ns/pid").readlink() == mine:
                    every[int(place.name)] = (
                        (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    )
            except OSError:
                continue  # it has ended
        return every


class Hosts:
    """A context: a client and so many hosts, `h0` first; at its end all their processes have ended.

    Args:
        folder: For keys and the shared folder; what lies there stays.
        count: How many.
        venv: A virtual environment outside /srv, which the client gets as ~/pmd_ray/venv, and whose packages the hosts
            find in theirs.
    """

    def __init__(self, folder: Path, *, count: int, venv: Path) -> None:
        self.folder, self._venv = folder.absolute(), venv.absolute()
        self.shared = self.folder / "shared"
        """The shared folder, as it is seen from outside."""
        self._names = {f"h{number}": f"{NETWORK}.{10 + number}" for number in range(count)}
        self._first: list[subprocess.Popen[bytes]] = []
        self._all: dict[str, Host] = {}

    def __enter__(self) -> Hosts:
        try:
            self._write_files()
            self.client = self._boot(CLIENT, f"{NETWORK}.1", OF_THE_CLIENT, "sleep infinity")
            for name, address in self._names.items():
                sshd = f"{found('sshd')} -D -e -f {self.folder}/sshd_config"
                self._all[name] = self._boot(name, address, OF_A_HOST, sshd)
                self._join(self._all[name])
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __getitem__(self, name: str) -> Host:
        return self._all[name]

    def __iter__(self) -> Iterator[Host]:
        """All but the client."""
        return iter(self._all.values())

    def _write_files(self) -> None:
        self.shared.mkdir(parents=True)
        for name in ("key", "hostkey"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / name], check=True)
        users = Path("/etc/passwd").read_text().splitlines()
        fields = [line.split(":") for line in users]
        (self.folder / "passwd").write_text(
            "".join(":".join([*line[:5], HOME if line[2] == "0" else line[5], *line[6:]]) + "\n" for line in fields)
        )
        named = {CLIENT: f"{NETWORK}.1", **self._names}
        (self.folder / "hosts").write_text(
            "127.0.0.1 localhost\n" + "".join(f"{address} {name}\n" for name, address in named.items())
        )
        # No server of names is there to be asked: each address that torch looks up for its messages took 10 s.
        (self.folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nshadow: files\nhosts: files\n")
        (self.folder / "sshd_config").write_text(SSHD.format(folder=self.folder, home=HOME))

    def _boot(self, name: str, address: str, further: str, init: str) -> Host:
        packages = Path(sysconfig.get_path("purelib", vars={"base": str(self._venv)}))
        own = {"venv": self._venv, "home": HOME, "address": address, "packages": packages}
        script = BOOT.format(
            name=name,
            folder=self.folder,
            checkout=CHECKOUT,
            venv=self._venv,
            shared=SHARED,
            home=HOME,
            disk=DISK,
            shm=SHM,
            init=init,
            further=further.format(packages_in_venv=packages.relative_to(self._venv), **own),
        )
        line = ["setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--kill-child", "--mount-proc", *SPACES]
        with (self.folder / f"{name}.log").open("wb") as log:
            first = subprocess.Popen([*line, "bash", "-c", script], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._first.append(first)
        limit = time.monotonic() + BOOT_S
        while not (self.folder / f"{name}.ready").exists():
            if first.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f"{name} did not start: {(self.folder / f'{name}.log').read_text()[-2000:]}")
            time.sleep(0.05)
        children = Path(f"/proc/{first.pid}/task/{first.pid}/children").read_text().split()
        return Host(name, address, int(children[0]))

    def _join(self, host: Host) -> None:
        """A cable from the host to the bridge; Ray finds its own address by the default route."""
        self._on_bridge("link", "add", port(host), "type", "veth", "peer", "name", "eth0", "netns", str(host.pid))
        self._on_bridge("link", "set", port(host), "master", "bridge0", "up")
        host.run("ip", "addr", "add", f"{host.address}/24", "dev", "eth0")
        host.run("ip", "link", "set", "eth0", "up")
        host.run("ip", "route", "add", "default", "via", self.client.address)

    def cut(self, host: Host) -> None:
        """Pull its cable: nobody reaches it, and nobody is told."""
        self._on_bridge("link", "set", port(host), "down")

    def join(self, host: Host) -> None:
        """Put the cable back."""
        self._on_bridge("link", "set", port(host), "up")

    def _on_bridge(self, *words: str) -> None:
        # In the client's network alone: the number of a process is ours, not one inside the client.
        subprocess.run(["nsenter", "--target", str(self.client.pid), "--net", "ip", *words], check=True)

    def _end(self) -> None:
        for first in reversed(self._first):
            first.send_signal(signal.SIGKILL)  # takes its child with it, and that all processes of its space
        for first in self._first:
            first.wait(timeout=BOOT_S)


def port(host: Host) -> str:
    """The bridge's end of a host's cable."""
    return f"to-{host.name}"

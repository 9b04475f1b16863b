"""Rounds of fuzz over what comes out of containers: repositories, bundles, claims, output."""

from __future__ import annotations

import contextlib
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from docker.errors import APIError

from para_server.core.names import BASE_IMAGE
from tests import engine, scratch
from tests.hostile import mutations
from tests.hostile.fuzzed_world import World
from tests.killed_runs import set_aside

BREAK = """
my ($seed, @files) = @ARGV; srand($seed);
for (1 .. 1 + int rand 3) {
  my $file = $files[rand @files]; chmod 0644, $file; open(my $f, "+<", $file) or next; local $/;
  my $text = <$f>; my $at = int rand(1 + length $text);
  my $how = int rand 4;
  if ($how == 0) { substr($text, $at, 1) = chr int rand 256 }
  elsif ($how == 1) { $text = substr($text, 0, $at) }
  elsif ($how == 2) { substr($text, $at, 0) = ("../", "ref: x", "0" x 40, "\\n", "\\0")[rand 5] }
  else { substr($text, $at, 20) = join "", map { chr int rand 256 } 1 .. 20 }
  seek $f, 0, 0; truncate $f, 0; print $f $text;
}
"""
# what a helper's bash is for a workspace with a .fuzz: it spoils what the real one has made
SPOIL = r"""#!/bin/sh
/bin/bash "$@"; code=$?
if [ "$1" = /para-out/snapshot.sh ] && [ -f /para-session/.fuzz ]; then
    cd /para-out
    touch left stopped conflicts filtered log result bundle
    . /para-session/.fuzz
fi
exit $code
"""
# what a helper that was taken over may leave in the place of a file
FOR_A_FILE = (
    *("rm {0}", "rm {0}; mkfifo {0}", "rm {0}; mkdir {0}", "rm {0}; ln -s /dev/zero {0}"),
    *("truncate -s 60G {0}", ": >{0}", "rm {0}; ln -s ../../../secret {0}", "chmod 0 {0}"),
    "head -c 3000000 /dev/urandom >{0}",
    "yes '0000 refs/heads/x' | head -c 3000000 >{0}",
)
SHORTSTAT = b" 3 files changed, 10 insertions(+), 2 deletions(-)\ncounted\n"
# where the counting meets the agent's own git
GIT = """#!/bin/sh
case "$*" in *--shortstat*) . /tmp/claim.sh ;; esac
exec /usr/bin/git "$@"
"""
ENDLESS = ("cat /dev/zero", "yes counted", "cat /tmp/claim; cat /dev/zero >&2", "kill -9 $PPID")
SCRIPT = b"echo one\nprintf 'two\\r\\n'\nprintf '\\033[31mred\\033[0m' >&2\nsleep 0\nexit 0\n"
NOISE = b"installing\r 10 %\r 20 %\n\x1b[32mdone\x1b[0m [text](command:x)\n"


@contextlib.contextmanager
def spoiling(api: Any) -> Iterator[None]:
    """Let the base image be one whose helpers spoil what they hand over."""
    own = api.inspect_image(BASE_IMAGE)["Id"]
    made = api.create_container(own, ["sleep", "infinity"], user="0:0")["Id"]
    try:
        api.start(made)
        put = f"cat >/usr/local/bin/bash <<'X'\n{SPOIL}X\nchmod 755 /usr/local/bin/bash"
        _run(api, made, put, user="0:0")
        kept = api.inspect_image(own)["Config"]
        changes = [f"USER {kept['User']}", "CMD " + str(kept["Cmd"]).replace("'", '"')]
        spoilt = api.commit(made, changes=changes)["Id"]
    finally:
        api.remove_container(made, force=True)
    with set_aside(api, BASE_IMAGE):
        api.tag(spoilt, *BASE_IMAGE.split(":"))
        yield
    with contextlib.suppress(APIError):  # sessions of the test may still be made from it
        api.remove_image(spoilt, force=True)


def put_git(world: World) -> None:
    """Put another git before that of the image, as an agent may."""
    here = "~/.local/bin"
    script = f"mkdir -p {here}; cat >{here}/git <<'X'\n{GIT}X\nchmod 755 {here}/git"
    _inside(world, f"echo : >/tmp/claim.sh; {script}")


def _box(world: World) -> str:
    return f"para-session-{world.ids['box']}"


def _inside(world: World, script: str) -> None:
    engine.run(world.api, _box(world), script)


def _run(api: Any, container: str, script: str, user: str = "para", given: bytes = b"") -> None:
    stdin = shlex.join(["printf", "%b", "".join(f"\\x{one:02x}" for one in given)])
    made = api.exec_create(container, ["/bin/bash", "-c", f"{stdin} | ({script})"], user=user)
    api.exec_start(made["Id"])
    assert api.exec_inspect(made["Id"])["ExitCode"] == 0, script


def boxes(world: World, chance: Random) -> None:
    """A .git that an agent broke, taken out by a helper container."""
    files = "$(find .git -type f -size -1M | sort)"
    seed = chance.randrange(1 << 30)
    _inside(world, f"cat > /tmp/break.pl <<'X'\n{BREAK}\nX\nperl /tmp/break.pl {seed} {files}")
    world.ask("diff", name="box")
    world.ask("stats", name="box", load=False)
    _inside(world, "rm -rf .git; cp -a /tmp/good .git")


def bundles(world: World, chance: Random) -> None:
    """A bundle, a claim and lists that a helper spoilt, or somebody in its place."""
    names = ("bundle", "result", "left", "stopped", "conflicts", "filtered")
    seed = chance.randrange(1 << 30)
    lines = [f"perl /para-session/.fuzz.pl {seed} {' '.join(names)}"]
    if chance.random() < 0.5:
        named = " ".join(chance.sample(names[:2], 1))
        lines = [f"perl /para-session/.fuzz.pl {seed} {named}"]
    if chance.random() < 0.3:
        lines.append(chance.choice(FOR_A_FILE).format(chance.choice(names)))
    if chance.random() < 0.2:
        lines.append(f"code={chance.choice((0, 1, 3, 137))}")
    script = "\n".join(lines)
    put = f"cat >.fuzz.pl <<'X'\n{BREAK}\nX\ncat >.fuzz <<'X'\n{script}\nX"
    _inside(world, put)
    world.ask("diff", name="box")
    answer = world.ask("finish", name="box", message="x", branch=f"fuzzed-{seed}")
    state = world.ask("show", name="box")["result"]["state"]
    if "result" in answer:  # what was spoilt is what nobody needs
        assert state == "finished"
        world.ask("resume", name="box")
        put_git(world)
        _inside(world, "rm -f .fuzz*; cp -a .git /tmp/good; echo 3 >>b.md")
        world.repo.git("rev-list", "--quiet", "--objects", f"fuzzed-{seed}")
    else:
        assert state == "running"
        _inside(world, "rm -f .fuzz .fuzz.pl")


def stats(world: World, chance: Random) -> None:
    """What a container says it has changed."""
    claim = mutations.mutated(chance, SHORTSTAT, 5000)[:50_000]
    if chance.random() < 0.1:
        claim = b"9" * 100_000
    said = "cat /tmp/claim" if chance.random() < 0.9 else chance.choice(ENDLESS)
    end = chance.choice(("exit 0", "exit 1", ":"))
    encoded = "".join(f"\\x{one:02x}" for one in claim[:20_000])
    for start in range(0, len(encoded), 80_000):
        to = ">" if start == 0 else ">>"
        part = encoded[start : start + 80_000]
        _inside(world, f"cd /tmp; printf %b '{part}' {to}claim")
    _inside(world, f"echo '{said}; {end}' >/tmp/claim.sh")
    answer = world.ask("stats", name="box", load=chance.random() < 0.3)
    changes = (answer.get("result") or {}).get("changes") or {}
    assert all(0 <= figure < 10**9 for figure in changes.values()), changes
    _inside(world, "echo : >/tmp/claim.sh")


def setups(world: World, chance: Random) -> None:
    """What a set-up script prints, and how it ends."""
    made = scratch.make(world.repo.path.parent / "noisy")
    (made.path / ".para").mkdir()
    script = SCRIPT if chance.random() < 0.5 else mutations.mutated(chance, SCRIPT, 5000)
    noise = mutations.mutated(chance, NOISE, 2 << 20)
    (made.path / ".para/noise").write_bytes(noise * chance.choice((1, 1, 5)))
    cut = chance.choice(("cat .para/noise", "cat .para/noise >&2", "head -c 9000000 /dev/zero"))
    (made.path / ".para/setup.sh").write_bytes(f"{cut}\n".encode() + script)
    made.commit("a set-up script")
    at = {"name": "noisy", "repo": str(made.path)}
    world.ask("start", **at)
    for command in ("show", "logs", "list", "cancel"):
        world.ask(command, **(at if command != "list" else {}))
    for left in (world.home / "sessions").glob("noisy-*.json"):
        left.unlink()
    for part in ("agents", "copies"):
        for folder in (world.home / part).glob("noisy-*"):
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    subprocess.run(["rm", "-rf", str(made.path)], check=True)


KINDS: tuple[Callable[[World, Random], None], ...] = (
    *(boxes, bundles, bundles, stats, stats, setups),
)

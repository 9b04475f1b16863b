"""Traps of the file system, and of the container itself, as data."""

from __future__ import annotations

from tests.hostile.traps import CONFIG, GIT_DIR, Trap
from tests.hostile.traps_of_modules import MODULES

_SOCKET = (
    "perl -MIO::Socket::UNIX -e 'IO::Socket::UNIX->new(Local => $ARGV[0], Listen => 1) or die'"
)
_REPLACED = "git tmux cat find sh bash rm"
_DEEP = 'for (1..1500) { mkdir "d" x 100; chdir "d" x 100 } open(F, ">deep.txt"); print F "x";'


def _linked(path: str) -> Trap:
    name = f"link_at_{path.strip('.').replace('.', '_')}"
    return Trap(name, "secret", f'ln -s "${{SECRET%/*}}" {path}', f'cat "{path}/${{SECRET##*/}}"')


def _fifo(path: str, naive: str, *, whole: bool = True) -> Trap:
    name = "fifo_at_" + "".join(c if c.isalnum() else "_" for c in path.strip("."))
    script = f"mkdir -p $(dirname {path}); rm -rf {path}; mkfifo {path}"
    return Trap(name, "hangs", script, naive, whole=whole)


LINKS = (
    Trap("link", "secret", 'ln -s "$SECRET" link', "cat link"),
    Trap("link_upwards", "secret", "ln -s ../../secret link", "cat link"),
    Trap(
        "link_in_place_of_work",
        "secret",
        'ln -sf "$SECRET" README.md; ln -sf "$SECRET" .gitignore',
        "cat README.md",
    ),
    Trap(
        "link_to_write_through",
        "canary",
        'ln -s "$CANARY" out.txt; ln -s "$CANARY" .gitattributes',
        "echo x > out.txt",
    ),
    Trap(
        "link_in_place_of_a_folder",
        "secret",
        'rm -r src; ln -s "${SECRET%/*}" src',
        'cat "src/${SECRET##*/}"',
    ),
    *(_linked(path) for path in (".para", ".vscode", ".claude", ".git.refused")),
    Trap("linked_settings", "secret", 'ln -s "$SECRET" .para.toml', "cat .para.toml"),
)

FIFOS = (
    _fifo("pipe", "cat pipe"),
    _fifo("README.md", "cat README.md"),
    _fifo(".gitignore", "git status"),
    _fifo("a/b/.gitignore", "touch a/b/c; git add -A"),
    _fifo(".gitattributes", "git add -A"),
    _fifo("src/.gitattributes", "echo x >> src/app.py; git add -A"),
    _fifo(".gitmodules", "git submodule update --init"),
    _fifo(".para.toml", "cat .para.toml"),
    _fifo("lib/.git", "cat lib/.git"),
    _fifo(".git", "cat .git", whole=False),
    _fifo(".git/index", "git status"),
    _fifo(".git/HEAD", "git status"),
    _fifo(".git/config", "git status"),
    _fifo(".git/packed-refs", "git for-each-ref"),
    _fifo(".git/refs/heads/pipe", "git for-each-ref", whole=False),
    _fifo(".git/logs/refs/stash", "cat .git/logs/refs/stash"),
    _fifo(".git/info/exclude", "git status"),
    _fifo(".git/info/grafts", "git log"),
    _fifo(".git/shallow", "git log"),
    _fifo(".git/objects/info/commit-graph", "git log"),
    _fifo(".git/objects/info/alternates", "git log -p --all", whole=False),
    Trap(
        "fifo_in_place_of_a_pack",
        "hangs",
        "git repack -adq; for one in .git/objects/pack/*.idx; do rm -f $one; mkfifo $one; done",
        "git log -p",
        whole=False,
    ),
)

FILES = (
    Trap("socket", "fails", f"{_SOCKET} sock; rm README.md; {_SOCKET} README.md", "cat sock"),
    Trap("names_like_options", "fails", "touch ./-rf ./--upload-pack=x ./-", "git add *"),
    Trap(
        "names_of_many_lines",
        "fails",
        "echo x > $'a\\nb'; echo y > $'\\n'; ln -s $'to\\n' link",
        "git ls-files -o | xargs -d '\\n' cat",
    ),
    Trap(
        "names_that_draw",
        "fails",
        "echo x > $'\\e]0;title\\a\\e[2J'; echo y > $'\\u202etxt.exe'",
        "! ls | grep -q $'\\e'",
    ),
    Trap(
        "names_that_are_no_text",
        "fails",
        "echo x > $'\\xff\\xfe'; mkdir $'\\xc3'; echo y > $'\\xc3/\\xa9\\x80'",
        "ls | iconv -f UTF-8 -t UTF-16",
    ),
    Trap(
        "pathspec_names",
        "fails",
        "echo x > ':(exclude)*'; echo y > ':!x'; echo z > '*'; echo w > '[a]';"
        "git init -q './:(top)'; echo t > ':(top)/t'",
        "git add -- *; git ls-files --error-unmatch work.txt",
    ),
    Trap(
        "deep_folders",
        "fails",
        f"perl -e '{_DEEP}'",
        "cat $(find . -name deep.txt)",
    ),
    Trap(
        "unreadable",
        "fails",
        "chmod 0 work.txt; chown root:root work.txt; mkdir -m 0 shut; chown root src; chmod 0 src",
        "cat work.txt",
        root=True,
        within=True,
    ),
    Trap(
        "replaced_programs",
        "fails",
        f"for one in {_REPLACED}; do rm -f /usr/bin/$one;"
        "echo '#!/nowhere' > /usr/bin/$one; chmod +x /usr/bin/$one; done",
        "git status",
        root=True,
        within=True,
    ),
    Trap("no_permissions_at_all", "fails", "chmod 0 work.txt src .", "ls work.txt", within=True),
)

TRAPS = {trap.name: trap for trap in (*CONFIG, *GIT_DIR, *MODULES, *LINKS, *FIFOS, *FILES)}

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFINED = """
import os, socket, subprocess, sys
from pathlib import Path
from interactvlm.checkpoints.confinement import confine
room, outside = Path(sys.argv[1]), Path(sys.argv[2])
confine(writable=room, input_bytes=1 << 20)
tries = {
    "write inside": lambda: (room / "a").write_text("x"),
    "read outside": lambda: Path(sys.executable).open("rb").read(4),
    "write outside": lambda: (outside / "b").write_text("x"),
    "append outside": lambda: open(outside / "kept", "a"),
    "through a link": lambda: (room / "link" / "b").write_text("x"),
    "os.open": lambda: os.open(outside / "b", os.O_CREAT | os.O_WRONLY),
    "remove": lambda: os.remove(outside / "kept"),
    "rename": lambda: os.rename(room / "a", outside / "b"),
    "system": lambda: os.system("touch " + str(outside / "b")),
    "popen": lambda: subprocess.run(["touch", str(outside / "b")]),
    "fork": lambda: os.fork(),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "socket": lambda: socket.socket(),
    "kill": lambda: os.kill(os.getppid(), 0),
    "touch": lambda: os.utime(outside / "kept"),
    "database": lambda: __import__("sqlite3").connect(outside / "b"),
    "ctypes": lambda: __import__("ctypes").CDLL(None),
    "memory": lambda: bytearray(1 << 36),
    "large file": lambda: (room / "c").open("wb").truncate(1 << 36),
}
for name, act in tries.items():
    try:
        act()
        print(name, "worked")
    except (PermissionError, MemoryError, OSError) as error:
        print(name, "refused")
"""


def test_the_confined_process(tmp_path: Path) -> None:
    room, outside = tmp_path / "room", tmp_path / "outside"
    room.mkdir()
    outside.mkdir()
    (outside / "kept").touch()
    (room / "link").symlink_to(outside)
    result = subprocess.run(
        [sys.executable, "-c", CONFINED, str(room), str(outside)], capture_output=True, text=True, check=True
    )
    said = dict(line.rsplit(" ", 1) for line in result.stdout.splitlines())
    assert {name for name, how in said.items() if how == "worked"} == {"write inside", "read outside"}
    assert len(said) == 19
    assert [path.name for path in outside.iterdir()] == ["kept"]

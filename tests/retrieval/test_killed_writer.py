"""A writer that is killed at any moment leaves the table as it was before or after its change, and usable."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.search import TableSearcher
from interactvlm.retrieval.vector_table import VectorTable

#: 200 kills with INTERACTVLM_RELIABILITY=full.
KILLS = 200 if os.environ.get("INTERACTVLM_RELIABILITY") == "full" else 12
D, ROWS = 16, 40

# Every generation g replaces all rows by rows named g, then removes the first and compacts: each step is one version.
_WRITER = f"""
import sys
from pathlib import Path
import numpy as np
from interactvlm.retrieval.rows import TableRow
from interactvlm.retrieval.vector_table import VectorTable

table = VectorTable(Path(sys.argv[1]))
generation = int(sys.argv[2])
print("ready", flush=True)
while True:
    generation += 1
    table.add([TableRow(id=f"id{{i}}", name=str(generation)) for i in range({ROWS})],
              np.full(({ROWS}, {D}), 1.0, np.float32) + np.arange({ROWS})[:, None] * np.eye(1, {D}))
    table.remove(["id0"])
    table.compact()
"""


def contents(table: VectorTable) -> tuple[set[str], set[str]]:
    searcher = TableSearcher(table.open(), threads=1)
    (hits,) = searcher.search(np.ones((1, D), np.float32), limit=100)
    assert len(hits) == len(searcher.snapshot)
    searcher.close()
    return {hit.row.id for hit in hits}, {hit.row.name for hit in hits}


def test_a_reader_sees_one_whole_version_whenever_the_writer_dies(tmp_path: Path) -> None:
    dice = random.Random(5)
    folder = tmp_path / "table"
    table = VectorTable(folder)
    table.add([TableRow(id=f"id{i}", name="0") for i in range(ROWS)], np.eye(ROWS, D) + 1)
    everything = {f"id{i}" for i in range(ROWS)}
    version = generation = 0
    changed = 0
    writer: subprocess.Popen[str] | None = None
    for _ in range(KILLS):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(folder), str(generation)], stdout=subprocess.PIPE, text=True
        )
        with writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            time.sleep(dice.uniform(0, 0.05))
            writer.send_signal(signal.SIGKILL)
        assert table.version >= version
        changed += table.version > version
        version = table.version
        ids, names = contents(table)
        assert len(names) == 1  # never rows of two generations
        assert ids in (everything, everything - {"id0"})
        generation = int(names.pop())
    assert changed > KILLS / 4  # most writers got somewhere
    table.add([TableRow(id="after")], np.ones((1, D), np.float32))
    drafts = [path for path in folder.rglob(".*") if path.is_file() or path.parent.name == "segments"]
    assert drafts == []  # what the dead left behind is gone after the next change
    assert "after" in contents(table)[0]

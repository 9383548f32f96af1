"""The hash that names the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import stackpop
from stackpop.provenance import source_hash


def test_the_source_hash_names_the_code(tmp_path: Path) -> None:
    package = tmp_path / "stackpop"
    shutil.copytree(Path(stackpop.__file__).parent, package)
    command = [sys.executable, "-c", "from stackpop.provenance import source_hash; print(source_hash())"]

    def hash_of_copy() -> str:
        return subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()

    same = hash_of_copy()
    with (package / "games" / "play.py").open("a") as file:
        file.write("# changed")
    assert re.fullmatch("[0-9a-f]{12}", same)
    assert same == source_hash() != hash_of_copy()

"""What the README and the tutorial tell one to type, typed; with fewer and shorter episodes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHORTER = (
    ("lilliput compare ", "lilliput compare --episodes 3 --max-steps 200 --no-timings --workers 1 "),
    ("--within 3m", "--within 10s --max-steps 100 --workers 1"),
    ("range(100)", "range(3)"),
)


def blocks(page: str) -> list[str]:
    """The fenced blocks that run Lilliput, in order."""
    found = re.findall(r"^```(?:python)?\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in found if re.search(r"^(lilliput |import lilliput|make -C )", block, re.MULTILINE)]


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_what_the_page_says_to_type_works(page: str, tmp_path: Path) -> None:
    pytest.importorskip("mujoco")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    assert len(blocks(page)) >= 2
    for block in blocks(page):
        for long, short in SHORTER:
            block = block.replace(long, short)
        if "import lilliput" in block:
            command = [sys.executable, "-c", block]
        else:
            typed = "\n".join(line for line in block.splitlines() if not line.startswith("pip install"))
            command = ["bash", "-ec", typed]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lilliput import child_process


def test_a_child_computes_on_one_core_and_the_parent_on_all_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    program = "import os, numpy; a = numpy.ones((400, 400)); a @ a; print(len(os.listdir('/proc/self/task')))"
    with child_process.one_thread():
        found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "1"
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "OPENBLAS_NUM_THREADS" not in os.environ


PARENT = """
import multiprocessing, pathlib, sys, time
from lilliput import child_process

def work(path):
    child_process.start()
    pathlib.Path(path).write_text(str(multiprocessing.current_process().pid))
    time.sleep(600)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work, args=(sys.argv[1],)).start()
    time.sleep(600)
"""


def test_a_child_ends_with_a_parent_that_was_killed_and_not_at_ctrl_c(tmp_path: Path) -> None:
    script, told = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(script), str(told)])
    until = time.monotonic() + 600
    while not (told.exists() and told.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    pid = int(told.read_text())
    os.kill(pid, signal.SIGINT)
    time.sleep(0.2)
    os.kill(pid, 0)
    parent.kill()
    parent.wait()
    while Path(f"/proc/{pid}/stat").exists() and time.monotonic() < until:
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{pid}").exists()


IMPORTING = """
import os, pathlib, sys, time
from concurrent.futures import ProcessPoolExecutor
from lilliput import child_process

told = pathlib.Path(sys.argv[1])
if __name__ != "__main__" and not told.exists():  # a worker that is importing still
    told.write_text(str(os.getpid()))
    time.sleep(1)

def work():
    return os.getpid()

if __name__ == "__main__":
    with ProcessPoolExecutor(1, child_process.Spawn(), child_process.start) as pool:
        print(pool.submit(work).result(), os.environ.get("OMP_NUM_THREADS"))
"""


def test_ctrl_c_does_not_reach_a_child_that_is_importing_still(tmp_path: Path) -> None:
    script, told = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(IMPORTING)
    environment = {name: value for name, value in os.environ.items() if name not in child_process.ONE_THREAD}
    parent = subprocess.Popen(
        [sys.executable, str(script), str(told)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    until = time.monotonic() + 600
    while not (told.exists() and told.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(int(told.read_text()), signal.SIGINT)
    out, err = parent.communicate()
    assert (out.split(), err) == ([told.read_text(), "None"], "")


def test_every_process_is_started_where_ctrl_c_is_kept_from_it() -> None:
    source = Path(child_process.__file__).parent
    others = [path for path in source.rglob("*.py") if path.name != "child_process.py"]
    assert not [path for path in others if "get_context(" in path.read_text()]


UNGUARDED = """
import sys
import lilliput

policy = lilliput.load_policy(sys.argv[1])
CALL
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        'lilliput.compare(policy, ["half()"], sys.argv[2], "Pendulum-v1", formats=("onnx",), episodes=2, workers=2)',
        'lilliput.shrink(policy, sys.argv[2], "Pendulum-v1", within_s=600, train=False, format="onnx")',
    ],
    ids=["compare", "shrink"],
)
def test_a_script_without_its_guard_is_told_of_it_and_its_workers_begin_nothing(
    call: str, example_policies: Path, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED.replace("CALL", call))
    command = [sys.executable, str(script), str(example_policies / "sac-Pendulum-v1"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert child_process.GUARD in done.stderr.splitlines()[-1]
    assert "another run is at work" not in done.stderr

"""Where torch is not installed, the doctests of the modules that stand on it are not collected."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("torch") else ["src/lilliput/torch_bridge/*", "src/lilliput/train/*"]

"""One line for whatever an environment raises."""

import traceback
from typing import Any

from lilliput.errors import LilliputError
from lilliput.policies.play.environment_packages import packages, packages_of

_LENGTH = 200

RAISED = (Exception, SystemExit)
"""What an environment, which is anybody's code, may raise; Ctrl-C is not among it."""


def failure(id_: str, doing: str, error: BaseException, environment: Any) -> LilliputError:
    """The error that says which environment raised what, where, under which versions, and what helps if that is known.

    Args:
        id_: of the environment, with the episode where there is one.
        doing: what failed, as "cannot be made".
        error: what it raised.
        environment: itself; or the class, the function or the "module:name" that makes it.
    """
    versions = versions_of(environment)
    # Colours and the like are for a terminal, not for a record.
    text = "".join(one for one in " ".join(str(error).split()) if one.isprintable())[:_LENGTH]
    frame = (traceback.extract_tb(error.__traceback__) or [None])[-1]
    place = f" in {_short(frame.filename)}, line {frame.lineno}" if frame is not None else ""
    said = f": {text}" if text else " without a word"
    under = ", ".join(f"{name} {version}" for name, version in versions.items())
    return LilliputError(f"{id_} {doing}: {type(error).__name__}{said}{place} ({under}){_advice(error, versions)}")


def versions_of(environment: Any) -> dict[str, str]:
    """Version by package that the environment is of; a module that no package installed has none."""
    if isinstance(environment, str):
        known = packages_of({environment.partition(":")[0], "gymnasium.core"})
    elif hasattr(environment, "step") and not isinstance(environment, type):
        known = packages(environment)
    else:
        known = packages_of({environment.__module__, "gymnasium.core"})
    return {key.removeprefix("package."): version for key, version in known if key.startswith("package.")}


def _short(filename: str) -> str:
    return "/".join(filename.split("/")[-2:])


def _advice(error: BaseException, packages: dict[str, str]) -> str:
    """What is known to help."""
    major = packages.get("mujoco", "").partition(".")[0]
    # A MuJoCo enum on the left of == is no longer equal to a numpy integer; in 3.9.0 it was.
    if "gymnasium-robotics" in packages and major.isdigit() and int(major) >= 4 and isinstance(error, AssertionError):
        return "; gymnasium-robotics asserts what MuJoCo 4 no longer gives: pip install 'mujoco==3.9.0'"
    return ""

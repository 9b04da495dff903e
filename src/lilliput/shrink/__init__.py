"""The smallest policy that provably keeps its return: a budget of time in, an artifact with its evidence out."""

from lilliput.shrink.request import OBJECTIVES, Objective, Request
from lilliput.shrink.result import Result
from lilliput.shrink.run import shrink

__all__ = ["OBJECTIVES", "Objective", "Request", "Result", "shrink"]

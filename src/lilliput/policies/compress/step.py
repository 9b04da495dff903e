"""What a compression step of a policy is."""

from abc import ABC, abstractmethod
from typing import ClassVar

from lilliput.policies.compress.context import Context
from lilliput.policies.policy import Policy


class Step(ABC):
    """One transformation of a policy. A step is a frozen dataclass whose fields are its literal parameters.

    Attributes:
        NAME: as recipes spell it.
        VERSION: raised whenever the step's meaning changes, so that old records are not taken for new ones.
        SHOWN: parameters that a reader wants to see even where they have their defaults.
        MEMORY: whether it takes a policy with a memory; `compress` refuses to apply the others to one.
    """

    NAME: ClassVar[str]
    VERSION: ClassVar[int]
    SHOWN: ClassVar[tuple[str, ...]] = ()
    MEMORY: ClassVar[bool] = False

    @abstractmethod
    def apply(self, policy: Policy, context: Context) -> Policy:
        """The compressed policy.

        Raises:
            NotApplicable: the step has nothing to do on this policy.
            LilliputError: it cannot be honoured.
        """

"""What a student will take of a processor before it is made: its constants or working memory, and what code was seen to
take.
"""

from typing import final

from lilliput.shrink.configuration import Student
from lilliput.shrink.student_space import StudentSpace


@final
class CodeBytes:
    """Bytes beside what can be counted on a student, learned from those that were compiled, by kind of student."""

    def __init__(self, objective: str, space: StudentSpace) -> None:
        self._of_memory, self._space = objective == "ram_bytes", space
        self._seen: dict[object, float] = {}
        self._last = 0.0

    def learn(self, student: Student, n_bytes: float) -> None:
        """Take up what a student was found to take."""
        self._last = n_bytes - self._counted(student)
        self._seen[_kind(student)] = self._last

    def predict(self, student: Student) -> float:
        """What a student will take; as one of another kind does, where none of its kind was compiled."""
        return max(1.0, self._seen.get(_kind(student), self._last) + self._counted(student))

    def _counted(self, student: Student) -> int:
        if not self._of_memory:
            return self._space.model_bytes(student)
        inputs = (student.seen or self._space.sight.inputs) * (student.history or 1)
        return 4 * (inputs + max((*student.hidden, 3 * (student.memory or 0), self._space.outputs)))


def _kind(student: Student) -> object:
    """What decides which kernels are linked."""
    bits = student.weight_bits
    widths = frozenset(bits if isinstance(bits, tuple) else (bits,))
    return (
        len(student.hidden), frozenset(width == 8 for width in widths), student.input_range, student.per_channel,
        student.seen is None, student.history is None, student.memory is None, len(student.channels),
    )  # fmt: skip

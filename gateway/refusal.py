"""What can speak against a call: the common shape of every such list."""

from enum import Enum


class RefusalRule(Enum):
    """Each member's value is its label, and what it means in words."""

    @property
    def label(self) -> str:
        """The metric label and the reason in logs."""
        label: str = self.value[0]
        return label

    @property
    def words(self) -> str:
        """For people and models."""
        words: str = self.value[1]
        return words

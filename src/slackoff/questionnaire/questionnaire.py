"""A user study as it is answered: each rater's next question, and what becomes of an answer. Knows no web page."""

import hashlib
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

from slackoff.errors import SlackoffError
from slackoff.questionnaire.ballot import images_for, placed_methods
from slackoff.questionnaire.groups import Group
from slackoff.questionnaire.vote_file import VoteFile

_RATER = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True)
class Question:
    """One image for one rater: the `number`-th of `total`; `methods` in the order in which their results are shown."""

    number: int
    total: int
    group: Group
    methods: tuple[str, ...]

    @property
    def token(self) -> str:
        """Stands for what is shown where. A page sends it back, so that no vote is kept for what it does not show."""
        shown = "\0".join([self.group.image, *self.methods])
        return hashlib.sha256(shown.encode()).hexdigest()[:16]


class Questionnaire:
    """The study.

    Args:
        groups: its images, at least one, each with a result of every method.
        votes: where votes go; what it holds already is not asked again.
        count: images that each rater is shown, at least 1.
        seed: decides which images a rater sees and in which order methods are placed.
    """

    def __init__(self, groups: Sequence[Group], votes: VoteFile, count: int = 10, seed: int = 0) -> None:
        if count < 1:
            raise SlackoffError(f"--groups {count} leaves a rater nothing to do: give 1 or more.")
        self.methods = sorted(groups[0].results)
        self._groups = {group.image: group for group in groups}
        self._votes, self._count, self._seed = votes, count, seed
        self._one_answer = threading.Lock()

    @property
    def total(self) -> int:
        """Questions for each rater."""
        return min(self._count, len(self._groups))

    def question(self, rater: str) -> Question | None:
        """The rater's first question without a vote; None when all are answered."""
        images = images_for(rater, list(self._groups), self._count, self._seed)
        for number, image in enumerate(images, 1):
            if (rater, image) not in self._votes.voted:
                placed = placed_methods(rater, image, self.methods, self._seed)
                return Question(number, len(images), self._groups[image], tuple(placed))
        return None

    def answer(self, rater: str, token: str, place: int) -> bool:
        """Keep the vote for the result at `place` (0 is the first) of the question of that token.

        Returns whether it was kept: an answer to any question but the rater's current one, such as a second click
        before the page has changed, is not.

        Raises:
            OSError: the vote could not be written.
            ValueError: there is no such place.
        """
        if not 0 <= place < len(self.methods):
            raise ValueError(f"place must be 0 .. {len(self.methods) - 1}, got {place}")
        with self._one_answer:  # of two clicks at once the second must find the first one's vote
            question = self.question(rater)
            if question is None or question.token != token:
                return False
            self._votes.add(rater, question.group.image, question.methods[place], question.methods)
        return True


def is_rater(kept: object) -> TypeGuard[str]:
    """Whether what a browser has kept is the id of a rater: 12 lower-case hexadecimal digits."""
    return isinstance(kept, str) and _RATER.fullmatch(kept) is not None


def rater_or_new(kept: object) -> str:
    """The id that a browser has kept, if it is one, else a new one: random, and telling nothing of the person."""
    return kept if is_rater(kept) else secrets.token_hex(6)

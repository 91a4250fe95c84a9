"""How probable a character is after the few before it: an n-gram model, the simple rule beside recurrent networks.

Counts of the training text, smoothed by interpolation with the next lower order (Witten and Bell, IEEE Transactions on
Information Theory 37(4), 1991): the more different characters have followed a context, the more the lower order counts.
"""

import math
from collections import Counter
from collections.abc import Iterable

__all__ = ["CharacterGrams"]


class CharacterGrams:
    """The counts of a text."""

    def __init__(self, text: str, order: int, symbols: int) -> None:
        """Count a text.

        Args:
            order: characters before the one that is predicted; with 0 a character has its frequency.
            symbols: characters that exist. Each has an equal share where nothing has been seen.
        """
        self.order, self.symbols = order, symbols
        self._counts = [Counter(text[i : i + n + 1] for i in range(len(text) - n)) for n in range(order + 1)]
        """By length of the context: context and character → times."""
        self._contexts: list[dict[str, tuple[int, int]]] = []
        """By length of the context: context → times, and different characters after it."""
        for counts in self._counts:
            times: Counter[str] = Counter()
            for gram, count in counts.items():
                times[gram[:-1]] += count
            kinds = Counter(gram[:-1] for gram in counts)
            self._contexts.append({context: (count, kinds[context]) for context, count in times.items()})

    def probability(self, context: str, character: str) -> float:
        """Of a character after a text of which the last `order` characters count."""
        found = 1.0 / self.symbols
        for length in range(min(self.order, len(context)) + 1):
            before = context[len(context) - length :]
            times, kinds = self._contexts[length].get(before, (0, 0))
            if times:
                found = (self._counts[length][before + character] + kinds * found) / (times + kinds)
        return found

    def bits(self, asked: Iterable[tuple[str, str]]) -> float:
        """The mean of -log2 of the probability, of pairs of a context and the character after it."""
        losses = [-math.log2(self.probability(context, character)) for context, character in asked]
        return sum(losses) / len(losses)

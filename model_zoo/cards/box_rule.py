"""How the outputs of a detector become objects."""

from typing import Literal

from pydantic import Field

from model_zoo.cards.part import CardPart

__all__ = ["BoxRule"]


class BoxRule(CardPart):
    """The rule by which logits (queries, classes) and boxes (queries, 4) become objects.

    A detector of this kind gives a fixed number of boxes, each for at most one object, so that none has to be suppressed beside
    another (DETR, arXiv:2005.12872). Boxes are (centre x, centre y, width, height) as shares of the image.
    """

    scores: Literal["softmax", "sigmoid"]
    """``softmax``: over the classes and a last one, which stands for no object; a query gives its best class. ``sigmoid``: of
    each class by itself; a query may give several."""
    candidates: int | None = Field(default=None, gt=0)
    """With ``sigmoid``: how many pairs of query and class are considered, best first; None for as many as there are queries."""

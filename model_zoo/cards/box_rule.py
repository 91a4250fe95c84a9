"""How the outputs of a detector become objects."""

from typing import Literal

from pydantic import Field, model_validator

from model_zoo.cards.part import CardPart

__all__ = ["BoxRule"]


class BoxRule(CardPart):
    """The rule by which logits (queries, classes) and boxes (queries, 4) become objects.

    Boxes are (centre x, centre y, width, height) as shares of the image. A detector gives a fixed number of boxes, each for at
    most one object, so that none has to be suppressed beside another (DETR, arXiv:2005.12872); or boxes at all places of the
    image, of which several are for one object: it has ``max_overlap``.
    """

    scores: Literal["softmax", "sigmoid"]
    """``softmax``: over the classes and a last one, which stands for no object; a query gives its best class. ``sigmoid``: of
    each class by itself; a query may give several."""
    candidates: int | None = Field(default=None, gt=0)
    """With ``sigmoid``: how many pairs of query and class are considered, best first; None for as many as there are queries."""
    max_overlap: float | None = Field(default=None, gt=0, lt=1)
    """Greatest intersection over union of two objects of one class: of boxes that overlap more, the one with the best score
    remains (non-maximum suppression). None for a detector that gives one box for an object."""
    max_objects: int | None = Field(default=None, gt=0)
    """Greatest number of objects in an image; None for as many as there are candidates."""
    clip: bool = False
    """Whether boxes end at the edges of the image."""

    @model_validator(mode="after")
    def _bounds_the_suppression(self) -> "BoxRule":
        if self.max_overlap is not None and (self.candidates is None or self.max_objects is None):
            raise ValueError(
                "max_overlap needs candidates and max_objects: each object is compared with each candidate"
            )
        return self

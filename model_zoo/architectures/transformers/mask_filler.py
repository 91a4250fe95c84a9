"""Networks of transformers that find masked tokens, with outputs of a bounded size.

The logits of a text have a row of the whole vocabulary for each of its tokens: 60 MB for 512 tokens of BERT. Callers need those
of the masks alone, and of them the likeliest. So the vectors of the masks are taken out between encoder and head, and the network
gives the best candidates with their probabilities: about 1 KB a mask, and no time for the other tokens' logits.
"""

from typing import Any

import torch
from torch import Tensor, nn

from model_zoo.architectures.wrappers import Network, masked_mean
from model_zoo.cards.card import Card
from model_zoo.cards.recipes import TextRecipe
from model_zoo.cards.signature import RANKED_IDS

__all__ = ["MOST_CANDIDATES", "SCORES", "MaskFiller"]

MOST_CANDIDATES = 100
"""For a mask."""
SCORES = "scores"


class MaskFiller(Network):
    """A transformers network for masked language modelling."""

    def __init__(self, backbone: nn.Module, card: Card) -> None:
        super().__init__()
        assert isinstance(card.recipe, TextRecipe)
        assert card.recipe.mask_id is not None
        self.backbone = backbone
        self.mask_id, self.max_masks = card.recipe.mask_id, card.recipe.max_masks
        self.candidates = card.signature.outputs[0].shape[-1]
        base: Any = backbone
        base.base_model.register_forward_hook(self._keep_masks, with_kwargs=True)

    def features(self, **inputs: Tensor) -> Tensor:
        """``input_ids``, ``attention_mask`` (B, T) → mean of the last token vectors over the mask (B, D)."""
        base: Any = self.backbone
        tokens: Tensor = base.base_model.forward(**inputs).last_hidden_state  # not by a call: hooks are for `forward`
        return masked_mean(tokens, inputs["attention_mask"])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """``input_ids``, ``attention_mask`` (B, T) → for the first masks of each text the likeliest tokens with their
        probabilities: ``scores`` and ``token_ids`` (B, masks, candidates). Places without a mask have no meaning."""
        logits = self.backbone(input_ids=input_ids, attention_mask=attention_mask).logits  # (B, masks, vocabulary)
        scores, ids = torch.softmax(logits.float(), dim=-1).topk(self.candidates, dim=-1)
        return {SCORES: scores, RANKED_IDS: ids}

    def _keep_masks(self, encoder: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        """The encoder's output with the vectors of the masks alone, (B, masks, D), for the head behind it."""
        ids: Tensor = args[0] if args else kwargs["input_ids"]
        masked = (ids == self.mask_id).to(torch.int64)
        number = masked.cumsum(dim=1) * masked  # 1 for the first mask of a text, 0 for all other tokens
        wanted = torch.arange(1, self.max_masks + 1, device=ids.device)
        place = (number.unsqueeze(1) == wanted.view(1, -1, 1)).to(torch.int64).argmax(dim=2)  # (B, masks)
        hidden: Tensor = output.last_hidden_state
        index = place.unsqueeze(-1).expand(-1, -1, hidden.shape[-1])
        return type(output)(last_hidden_state=hidden.gather(1, index))

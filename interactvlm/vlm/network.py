"""Everything of a checkpoint's vision-language part but the vision tower, under the checkpoint's own names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from interactvlm.checkpoints.config import ReleaseConfig
from interactvlm.checkpoints.reader import WeightReader
from interactvlm.vlm.llama import LlamaDecoder
from interactvlm.vlm.projector import image_projector

__all__ = ["ContactNetwork", "official_parameters"]


class _Model(LlamaDecoder):
    """`model.*` of the checkpoint: the decoder, the image projector and Gamma side by side."""

    def __init__(self, config: ReleaseConfig) -> None:
        super().__init__(config)
        self.mm_projector = image_projector(config)
        # Gamma: from the contact token's hidden state to its embedding E (the release's two layers, not the paper's).
        gamma = nn.Sequential(
            nn.Linear(config.hidden_size, config.hidden_size), nn.ReLU(), nn.Linear(config.hidden_size, config.out_dim)
        )
        self.text_hidden_fcs = nn.ModuleList([gamma])


class ContactNetwork(nn.Module):
    """Language model Psi with its image projector, output layer and Gamma.

    `state_dict()` has exactly the names and shapes of the released layout (`model.embed_tokens`, `model.layers.{i}`,
    `model.norm`, `model.mm_projector`, `model.text_hidden_fcs.0.{0,2}`, `lm_head`), so that training tools that wrap
    it (PEFT) write names that the converter knows.
    """

    def __init__(self, config: ReleaseConfig) -> None:
        super().__init__()
        self.config = config
        self.model = _Model(config)
        self.lm_head = (
            None if config.tie_word_embeddings else nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        )

    @classmethod
    def from_folder(
        cls, folder: Path, config: ReleaseConfig, *, device: torch.device | str, dtype: torch.dtype
    ) -> ContactNetwork:
        """Build without memory and fill tensor by tensor from the folder's shards.

        Raises:
            CheckpointError: shards or tensors are missing or misshapen.
        """
        with torch.device("meta"):
            network = cls(config)
        WeightReader(folder).load_into(network, stored_name=lambda own: own, dtype=dtype, device=device)
        return network.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are computed in."""
        return self.model.norm.weight.dtype

    def embed(self, ids: torch.Tensor) -> torch.Tensor:
        """Embeddings of token ids: int64 [...] -> [..., h]."""
        embedded: torch.Tensor = self.model.embed_tokens(ids)
        return embedded

    def project_image(self, features: torch.Tensor) -> torch.Tensor:
        """Image tokens of patch features: [P, N, mm_hidden_size] -> [P, N, h]."""
        projected: torch.Tensor = self.model.mm_projector(features.to(self.device, self.dtype))
        return projected

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Scores over the vocabulary: [..., h] -> float32 [..., vocab_size]."""
        if self.lm_head is not None:
            scores: torch.Tensor = self.lm_head(states)
            return scores.float()
        return F.linear(states, self.model.embed_tokens.weight).float()

    def contact_embedding(self, states: torch.Tensor) -> torch.Tensor:
        """E = Gamma(state): hidden states that predict contact tokens [..., h] -> float32 [..., out_dim]."""
        embedded: torch.Tensor = self.model.text_hidden_fcs[0](states)
        return embedded.float()


def official_parameters(config: ReleaseConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the vision-language part in a checkpoint of this configuration.

    Built on the meta device: costs no memory at 13B. Saved `rotary_emb.inv_freq` buffers are not among them.
    """
    with torch.device("meta"):
        network = ContactNetwork(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}

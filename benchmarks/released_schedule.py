"""The order of work in the published code, on our weights: the baseline of `benchmarks.contact`.

Per question: the vision tower and the whole language model run again for every generated token (no key/value cache),
decoding goes on to the end token, the four constant body renders pass the image encoder again, SAM's own mask decoder
forms every key, query and value of the grid, masks are enlarged whole and scattered pixel by pixel (PAPER section 7).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from interactvlm.mvloc.decoder import MaskPredictor
from interactvlm.mvloc.model import ContactLocalizer
from interactvlm.mvloc.surfaces import SurfaceViews
from interactvlm.types import Question
from interactvlm.vlm.model import ContactVLM

__all__ = ["released_answer"]


@torch.inference_mode()
def released_answer(
    vlm: ContactVLM,
    localizer: ContactLocalizer,
    predictor: MaskPredictor,
    views: SurfaceViews,
    photo: NDArray[np.uint8],
    question: Question,
    *,
    max_new_tokens: int,
) -> tuple[str, NDArray[np.float32]]:
    """Answer text up to the contact token, and contact per body vertex, float32 [V]."""
    tokens, state = _generate(vlm, photo, question, max_new_tokens)
    contact_ids = {index: text for text, index in vlm.contact_tokens.items()}
    found = next((i for i, token in enumerate(tokens) if token in contact_ids), None)
    if found is None or state is None:
        end = [token for token in tokens if token != vlm.config.eos_token_id]
        return vlm.tokenizer.decode(end).strip(), np.zeros(views.count, dtype=np.float32)
    embedding = vlm.network.contact_embedding(state[None]).cpu().numpy()
    images = localizer.encoder.encode_images(views.images)
    prompts = localizer.prompts(views.kind, embedding, [contact_ids[tokens[found]]])
    logits = _masks(predictor, images, prompts[0])
    return vlm.tokenizer.decode(tokens[: found + 1]).strip(), _dense_lift(logits, views)


def _generate(
    vlm: ContactVLM, photo: NDArray[np.uint8], question: Question, max_new_tokens: int
) -> tuple[list[int], torch.Tensor | None]:
    """Greedy decoding without a cache; the generated ids and the state that predicted the contact token."""
    prompt, network = vlm.prompt(question), vlm.network
    before = vlm.tokenizer.encode(prompt.before_image)
    if prompt.begin_of_sequence:
        before = [vlm.config.bos_token_id, *before]
    after = vlm.tokenizer.encode(prompt.after_image)
    contact_ids = set(vlm.contact_tokens.values())
    tokens: list[int] = []
    found: torch.Tensor | None = None
    while len(tokens) < max_new_tokens and (not tokens or tokens[-1] != vlm.config.eos_token_id):
        image = vlm.image_tokens([photo])[0]
        words = [network.embed(torch.tensor(ids, device=network.device)) for ids in (before, after + tokens)]
        state = network.model(torch.cat((words[0], image, words[1]))[None])[0, -1]
        tokens.append(int(network.logits(state).argmax()))
        if tokens[-1] in contact_ids and found is None:
            found = state
    return tokens, found


def _masks(predictor: MaskPredictor, images: torch.Tensor, prompts: torch.Tensor) -> torch.Tensor:
    """SAM's mask decoder as it comes: low-resolution logits of mask token 0, [J, 4 g, 4 g]."""
    grid = images.shape[-1]
    dense = predictor.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(len(images), -1, grid, grid)
    masks, _ = predictor.mask_decoder.predict_masks(
        image_embeddings=images,
        image_pe=predictor.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=prompts[None],
        dense_prompt_embeddings=dense,
    )
    return masks[:, 0]


def _dense_lift(logits: torch.Tensor, views: SurfaceViews) -> NDArray[np.float32]:
    """Every pixel of every view scatters to its three vertices; vertices take the mean over the views that see them."""
    full = F.interpolate(logits[:, None].float(), views.ids.shape[1:3], mode="bilinear", align_corners=False)[:, 0]
    probabilities = full.clamp(-20, 20).sigmoid()
    total = torch.zeros(views.count)
    seen = torch.zeros(views.count)
    for view, ids, weights in zip(probabilities, views.ids, views.weights, strict=True):
        index = torch.from_numpy(ids.astype(np.int64)).reshape(-1)
        weight = torch.from_numpy(weights).reshape(-1) * (index >= 0)
        index = index.clamp(min=0)
        summed = torch.zeros(views.count).index_add(0, index, weight * view.reshape(-1, 1).expand(-1, 3).reshape(-1))
        norm = torch.zeros(views.count).index_add(0, index, weight)
        covered = norm > 0
        total[covered] += summed[covered] / norm[covered]
        seen += covered
    return (total / seen.clamp(min=1)).numpy()

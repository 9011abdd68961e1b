"""Between the library's values and the messages of `interactvlm.v1`; protobuf only, no gRPC, no torch.

`encode_*` makes a message, `decode_*` checks one from outside and raises InputError naming its field.
"""

from interactvlm.wire.messages import (
    decode_answer,
    decode_box,
    decode_contact,
    decode_identity,
    decode_person,
    decode_question,
    decode_sha256,
    decode_task,
    encode_answer,
    encode_box,
    encode_contact,
    encode_identity,
    encode_person,
    encode_question,
    encode_task,
)
from interactvlm.wire.predictions import (
    decode_prediction,
    decode_sparse_contact,
    encode_prediction,
    encode_sparse_contact,
)
from interactvlm.wire.surfaces import (
    decode_body,
    decode_contact_query,
    decode_image,
    decode_surface,
    encode_body,
    encode_contact_query,
    encode_surface,
)
from interactvlm.wire.tensors import from_tensor, to_tensor

__all__ = [
    "decode_answer",
    "decode_body",
    "decode_box",
    "decode_contact",
    "decode_contact_query",
    "decode_identity",
    "decode_image",
    "decode_person",
    "decode_prediction",
    "decode_question",
    "decode_sha256",
    "decode_sparse_contact",
    "decode_surface",
    "decode_task",
    "encode_answer",
    "encode_body",
    "encode_box",
    "encode_contact",
    "encode_contact_query",
    "encode_identity",
    "encode_person",
    "encode_prediction",
    "encode_question",
    "encode_sparse_contact",
    "encode_surface",
    "encode_task",
    "from_tensor",
    "to_tensor",
]

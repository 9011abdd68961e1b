"""docs/api.md names every public method, and what it shows can be sent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from interactvlm.v1 import batch_service_pb2, contact_service_pb2, retrieval_service_pb2

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "api.md").read_text()
PUBLIC: tuple[ServiceDescriptor, ...] = (
    contact_service_pb2.DESCRIPTOR.services_by_name["ContactService"],
    batch_service_pb2.DESCRIPTOR.services_by_name["BatchService"],
    retrieval_service_pb2.DESCRIPTOR.services_by_name["RetrievalService"],
)
#: What a shell would put into the examples.
SHELL = {r"\"": '"', "$(base64 -w0 photo.jpg)": "cGhvdG8=", "$(base64 -w0 cup.glb)": "Y3Vw"}


@pytest.mark.parametrize("service", PUBLIC, ids=lambda service: service.name)
def test_every_public_method_is_named(service: ServiceDescriptor) -> None:
    assert not [method.name for method in service.methods if f"`{method.name}`" not in TEXT]


def test_the_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert len(links) >= 3
    assert not [link for link in links if not (ROOT / "docs" / link).exists()]


def test_the_grpcurl_examples_are_messages() -> None:
    requests = re.findall(r"""(?:-d|echo) (['"])(\{.*?\})\1[^`]*?interactvlm\.v1\.(\w+)/(\w+)""", TEXT, re.DOTALL)
    assert len(requests) == 4
    services = {service.name: service for service in PUBLIC}
    for _, body, service, method in requests:
        for written, meant in SHELL.items():
            body = body.replace(written, meant)
        message = GetMessageClass(services[service].methods_by_name[method].input_type)()
        json_format.Parse(body, message)
        assert message.ByteSize() > 0


def test_the_python_example_is_python() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    compile(example, "docs/api.md", "exec")

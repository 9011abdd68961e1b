from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from interactvlm.errors import InputError
from services.runtime.config import ClientConfig, ServerConfig, describe, load_config


@dataclass(frozen=True)
class Replica:
    target: str = ""
    weight: float = 1.0


@dataclass(frozen=True)
class Example:
    server: ServerConfig = field(default_factory=ServerConfig)
    stage: ClientConfig = field(default_factory=ClientConfig)
    device: str = "auto"
    fast: bool = False
    seconds: float = 1.5
    names: tuple[str, ...] = ()
    replicas: tuple[Replica, ...] = ()
    password: str = field(default="", metadata={"secret": True})


def test_last_source_wins(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text(
        'device = "cpu"\nseconds = 2\nnames = ["a", "b"]\npassword = "hush"\n[server]\nport = 1\ndrain_seconds = 5\n'
        '[[replicas]]\ntarget = "x:1"\nweight = 3\n'
    )
    environment = {"INTERACTVLM_SERVER_PORT": "2", "INTERACTVLM_DEVICE": "cuda", "INTERACTVLM_NAMES": "c, d"}
    found = load_config(
        Example,
        environment={**environment, "INTERACTVLM_CONFIG": "/nowhere"},
        arguments=["--config", str(file), "--server.port=3", "--fast", "true"],
    )
    assert found.server.port == 3
    assert found.server.drain_seconds == 5.0
    assert (found.device, found.fast, found.seconds, found.names) == ("cuda", True, 2.0, ("c", "d"))
    assert found.replicas == (Replica("x:1", 3.0),)
    assert load_config(Example, file=file, environment={}).server.port == 1
    assert load_config(Example, environment={}) == Example()


def test_description_is_plain_and_without_secrets():
    shown = describe(Example(password="hush", replicas=(Replica("x:1"),)))
    assert shown["password"] == "***"
    assert shown["replicas"] == [{"target": "x:1", "weight": 1.0}]
    assert shown["server"]["tls_key"] == ""


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("colour = 1", [], "colour: is not a setting"),
        ("[server]\ncolour = 1", [], r"server\.colour: is not a setting"),
        ("device = 1", [], "device: is 1; it must be of type str"),
        ("fast = 1", [], "fast: is 1"),
        ("[server]\nport = true", [], r"server\.port: is True"),
        ("server = 3", [], "server: must be a table"),
        ("server = 3", ["--server.port", "1"], "not a table"),
        ("replicas = [1]", [], r"replicas\.0: must be a table"),
        ('names = "a"', [], "must be a list"),
        ("[server]\nport = 70000", [], r"server\.port: is 70000; it must lie between 0 and 65535"),
        ('[server]\nlog_level = "loud"', [], "log_level"),
        ('[server]\ntls_key = "k"', [], "belong together"),
        ('[server]\ntls_client_ca = "k"', [], "needs tls_certificate"),
        ("[server]\nprocesses = 2", [], "share one stated port"),
        ("x = ", [], "not valid TOML"),
        ("", ["--server.prot", "1"], "is not known"),
        ("", ["--server.port"], "needs a value"),
        ("", ["server.port"], "is not a flag"),
        ("", ["--server.port", "many"], "must be a number"),
        ("", ["--fast", "maybe"], "true or false"),
    ],
)
def test_wrong_configuration_ends_in_one_sentence(tmp_path, text, arguments, message):
    file = tmp_path / "c.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_config(Example, file=file, environment={}, arguments=arguments)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_config(Example, environment={"INTERACTVLM_CONFIG": str(tmp_path / "none.toml")})

"""`interactvlm up`: every server of one deployment as processes of this machine."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import interactvlm
from interactvlm.cli.console import console, print_json, step_progress
from interactvlm.cli.processes import ServerProcess, free_ports, start, stop, until_healthy
from interactvlm.errors import InputError, InteractVLMError

__all__ = ["plan", "up"]

_STAGES = ("vlm", "mvloc", "retrieval", "fitting")
#: Of these there is always one: without it no photo is answered.
_NEEDED_STAGES = ("vlm", "mvloc")
#: Those that read the library's settings, and that the orchestrator calls.
_ENGINES = ("vlm", "mvloc", "retrieval")
#: A server drains for 30 s by default; after this it is killed.
_STOP_SECONDS = 45.0


def up(
    replicas: Annotated[str, typer.Option(help="Processes a stage, e.g. vlm=2,retrieval=0; one each by default.")] = "",
    host: Annotated[str, typer.Option(help="Address of the public port; stages stay on loopback.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The public port; 0 takes a free one.")] = 50051,
    model: Annotated[str | None, typer.Option(help="nano, or a checkpoint folder.")] = None,
    device: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda or cuda:N; several, separated by commas, go to replicas in turn."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="TOML file of the stages: model, device, dtype, body ...")] = None,
    orchestrator: Annotated[
        Path | None, typer.Option(help="TOML file of the orchestrator: [server] TLS, tokens, limits ...")
    ] = None,
    logs: Annotated[Path | None, typer.Option(help="Folder for the servers' logs; kept.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document when everything serves.")] = False,
) -> None:
    """Start every server on this machine; Ctrl-C stops them all."""
    counts = parse_replicas(replicas)
    devices = [each.strip() for each in device.split(",")] if device else []
    folder = Path(tempfile.mkdtemp(prefix="interactvlm-up-")) if logs is None else logs
    folder.mkdir(parents=True, exist_ok=True)
    processes = plan(
        counts,
        host=host,
        port=port,
        model=model,
        devices=devices,
        config=config,
        orchestrator=orchestrator,
        logs=folder,
    )
    asyncio.run(_run(processes, root=_services_root(), address=host, as_json=as_json))
    if logs is None:  # after a good end; what died keeps its log
        shutil.rmtree(folder, ignore_errors=True)


def parse_replicas(text: str) -> dict[str, int]:
    """`vlm=2,mvloc=1` as numbers by stage; what is not named gets one.

    Raises:
        InputError: a stage is unknown, or a number is none, above 64, or 0 where no answer is possible without.
    """
    counts = dict.fromkeys(_STAGES, 1)
    for part in filter(None, text.split(",")):
        stage, _, number = (piece.strip() for piece in part.partition("="))
        if stage not in counts:
            raise InputError("--replicas", f"names {stage!r}; known: {', '.join(_STAGES)}")
        fewest = int(stage in _NEEDED_STAGES)
        if not number.isdecimal() or not fewest <= int(number) <= 64:
            raise InputError("--replicas", f"gives {stage} {number!r}; it must be a number from {fewest} to 64")
        counts[stage] = int(number)
    return counts


def plan(
    counts: dict[str, int],
    *,
    host: str,
    port: int,
    model: str | None,
    devices: Sequence[str],
    config: Path | None,
    orchestrator: Path | None,
    logs: Path,
) -> list[ServerProcess]:
    """The processes to start, the orchestrator last."""
    names = [(stage, f"{stage}-{number}") for stage in _STAGES for number in range(1, counts[stage] + 1)]
    ports = iter(free_ports(2 * len(names) + 2))
    processes: list[ServerProcess] = []
    for index, (stage, name) in enumerate(names):
        arguments: list[str] = []
        if stage in _ENGINES:
            arguments += ["--config", str(config)] if config else []
            arguments += ["--model", model] if model else []
            arguments += ["--device", devices[index % len(devices)]] if devices else []
        processes.append(_process(name, stage, arguments, next(ports), next(ports), logs))
    arguments = ["--config", str(orchestrator)] if orchestrator else []
    for stage in _ENGINES:
        targets = [f"127.0.0.1:{process.port}" for process in processes if process.stage == stage]
        arguments += [f"--{stage}.targets", ",".join(targets)] if targets else []
    arguments += ["--server.host", host]
    public_port = next(ports)
    front = _process("orchestrator", "orchestrator", arguments, port or public_port, next(ports), logs)
    return [*processes, front]


def _process(name: str, stage: str, arguments: list[str], port: int, internal_port: int, logs: Path) -> ServerProcess:
    own = ["--server.port", str(port), "--server.internal_port", str(internal_port)]
    return ServerProcess(name, stage, [*arguments, *own], port, internal_port, logs / f"{name}.log")


async def _run(processes: list[ServerProcess], *, root: Path, address: str, as_json: bool) -> None:
    """Start, wait, watch, stop. Returns when the user ends it; raises when a death does."""
    ending, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, lambda: (hurry if ending.is_set() else ending).set())
    try:
        with step_progress() as step:
            step(f"starting {', '.join(process.name for process in processes)}")
            for process in processes:
                await start(process, _environment(process.stage, root))
            if not await _unless(ending, until_healthy(processes, progress=step)):
                return
        _announce(processes, address, as_json=as_json)
        await _watch(processes, ending)
    finally:
        ending.set()
        if any(process.alive for process in processes):
            console.print("stopping; once more to stop at once", highlight=False)
        # The front drains before the stages it needs for that.
        killed = await stop(processes[-1:], patience=_STOP_SECONDS, hurry=hurry)
        killed += await stop(processes[:-1], patience=_STOP_SECONDS, hurry=hurry)
        if killed:
            console.print(f"killed, did not end by themselves: {', '.join(killed)}", style="bold yellow")


async def _watch(processes: list[ServerProcess], ending: asyncio.Event) -> None:
    """Until the user ends it. A dead process is told and not replaced; when its stage has no other, all is over."""
    watched: dict[asyncio.Future[Any], ServerProcess] = {
        asyncio.ensure_future(process.ended()): process for process in processes
    }
    stopping: asyncio.Future[Any] = asyncio.ensure_future(ending.wait())
    try:
        while not ending.is_set():
            done, _ = await asyncio.wait({stopping, *watched}, return_when=asyncio.FIRST_COMPLETED)
            for dead in [watched.pop(task) for task in done if task is not stopping]:
                left = [process for process in processes if process.stage == dead.stage and process.alive]
                if not left:
                    raise InteractVLMError(f"{dead.how_it_ended()}\n{dead.stage} has no process left")
                console.print(
                    f"{dead.how_it_ended()}\nit is not restarted; {len(left)} of {dead.stage} left",
                    style="bold yellow",
                    markup=False,
                    highlight=False,
                )
    finally:
        for task in (stopping, *watched):
            task.cancel()


async def _unless(event: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Await `work`; give it up and answer False when `event` comes first."""
    working = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(event.wait())
    await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if working.done():
        working.result()
        return True
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return False


def _announce(processes: list[ServerProcess], host: str, *, as_json: bool) -> None:
    address = f"{host}:{processes[-1].port}"
    if as_json:
        entries = [
            {
                "name": process.name,
                "pid": process.pid,
                "port": process.port,
                "internal_port": process.internal_port,
                "log": str(process.log),
            }
            for process in processes
        ]
        print_json({"address": address, "processes": entries})
    else:
        typer.echo(f"serving at {address}; ask it with: interactvlm predict PHOTO --server {address} --out OUT")


def _environment(stage: str, root: Path) -> dict[str, str]:
    """This process's environment, without what is meant for the one public server."""
    private = stage in _STAGES
    kept = {
        name: value
        for name, value in os.environ.items()
        if not (private and name.startswith("INTERACTVLM_SERVER_"))
        and not (not private and name == "INTERACTVLM_CONFIG")
    }
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))}


def _services_root() -> Path:
    """The folder that holds `services`: the checkout this package is installed from, or the current one."""
    for folder in (Path(interactvlm.__file__).parents[1], Path.cwd()):
        if (folder / "services" / "orchestrator").is_dir():
            return folder
    raise InteractVLMError("the servers are not part of the installed package: run `interactvlm up` in a checkout")

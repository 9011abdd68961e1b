"""`interactvlm prepare`: annotated photos from any source, made ready for training, into one new folder.

Per photo: it is decoded once (so that training never meets a broken one), contact is moved onto the wanted body, parts
in contact become words, an endpoint answers the five questions where one is given, and masks are drawn. The samples are
written in our own shard form; the folder appears whole or not at all, while paid answers are kept beside it.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from interactvlm.body.template import BodyTemplate
from interactvlm.datasets.sample import ContactSample, TextAnswer
from interactvlm.datasets.shards import ShardedSamples, write_shard
from interactvlm.errors import InputError, PhotoError
from interactvlm.photo import load_photo
from interactvlm.preparation.bodies import BodyContacts
from interactvlm.preparation.drawing import Drawer, DrawingPlan
from interactvlm.preparation.vqa import AnsweredSample, VisualQuestions, main_object, parts_question
from interactvlm.types import Task

__all__ = ["Plan", "Prepared", "prepare"]

Annotated = tuple[ContactSample, Mapping[str, Any] | None]

_SAFE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")
#: A shard ends with the first of these: what is held in memory until it is written.
_SHARD_SAMPLES, _SHARD_BYTES = 256, 64 << 20


@dataclass(frozen=True, slots=True)
class Plan:
    """What is made besides the samples.

    Attributes:
        onto: topology that contact is moved onto ("anny"); "" leaves it where it is.
        drawing: which pictures are drawn.
        parallel: questions asked at once.

    Raises:
        InputError: `parallel` is out of range.
    """

    onto: str = ""
    drawing: DrawingPlan = field(default_factory=DrawingPlan)
    parallel: int = 4

    def __post_init__(self) -> None:
        if not 1 <= self.parallel <= 64:
            raise InputError("parallel", f"is {self.parallel}; the limits are 1 and 64")


@dataclass(slots=True)
class Prepared:
    """What was written.

    Attributes:
        samples: photos.
        human_contacts: contacts on bodies.
        object_contacts: contacts and heat on objects.
        texts: questions answered in words.
        masks: PNG files.
        renders: folders of renders.
        unanswered: photos that the endpoint refused or answered uselessly.
        requests: calls to the endpoint now (answers kept from an earlier run cost none).
        tokens: paid for them, as the service counts.
    """

    samples: int = 0
    human_contacts: int = 0
    object_contacts: int = 0
    texts: int = 0
    masks: int = 0
    renders: int = 0
    unanswered: int = 0
    requests: int = 0
    tokens: int = 0


def prepare(
    samples: Iterable[ContactSample],
    target: Path,
    plan: Plan,
    *,
    source: str,
    split: str = "train",
    limit: int = 0,
    body: BodyTemplate | None = None,
    questions: VisualQuestions | None = None,
    step: Callable[[str], None] | None = None,
) -> Prepared:
    """Prepare `samples` into the new folder `target`.

    Args:
        samples: read one at a time; shards keep their geometry column.
        target: a folder that does not exist yet or is empty.
        plan: what to make.
        source: what the samples come from, noted in `prepared.json`.
        split: the split that they become part of: letters, digits and underscores.
        limit: only so many of them; 0 for all.
        body: the body that their contact lies on, where the user has its file.
        questions: asks the five questions; None: nobody is asked.
        step: told of the progress, in words.

    Raises:
        InputError: a sample cannot be used, the target is in use, or the disk is full.
        PhotoError: a photo cannot be decoded.
        EndpointError: the endpoint fails for good; what was paid is kept.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(str(target), "exists and is not empty; name a new folder")
    done = Prepared()
    bodies = BodyContacts(body, plan.onto)
    with _whole_folder(target) as folder:
        drawer = Drawer(folder, plan.drawing, bodies)
        answered = _answered(_checked(islice(samples, limit or None)), bodies, questions, plan.parallel)
        finished = _finished(answered, bodies, drawer, done, step or (lambda _: None))
        geometry = samples.geometry if isinstance(samples, ShardedSamples) else lambda _: None
        annotated = ((sample, geometry(row)) for row, sample in enumerate(finished))
        for number, shard in enumerate(_shards(annotated)):
            write_shard(folder, split, number, shard, origin={"source": source})
        if not done.samples:
            raise InputError(source, "holds no samples")
        note = {"format": "interactvlm.prepared/1", "source": source, "plan": asdict(plan), **asdict(done)}
        (folder / "prepared.json").write_text(json.dumps(note, indent=2) + "\n", encoding="utf-8")
    return done


def _shards(annotated: Iterable[Annotated]) -> Iterator[list[Annotated]]:
    held: list[Annotated] = []
    size = 0
    for sample, geometry in annotated:
        held.append((sample, geometry))
        size += len(sample.photo)
        if len(held) >= _SHARD_SAMPLES or size >= _SHARD_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def _checked(samples: Iterable[ContactSample]) -> Iterator[ContactSample]:
    seen: set[str] = set()
    for sample in samples:
        if not _SAFE_ID.fullmatch(sample.sample_id) or sample.sample_id in seen:
            raise InputError("sample_id", f"{sample.sample_id[:200]!r} comes twice or cannot be a file's name")
        seen.add(sample.sample_id)
        try:
            load_photo(sample.photo)
        except PhotoError as error:
            photo = sample.tags.get("photo", "photo")
            raise PhotoError(f"{sample.sample_id} ({photo})", error.problem) from None
        yield sample


def _answered(
    samples: Iterator[ContactSample], bodies: BodyContacts, questions: VisualQuestions | None, parallel: int
) -> Iterator[AnsweredSample]:
    """The samples in their order, on the wanted body, some of them being asked about at the same time."""
    if questions is None:
        yield from (AnsweredSample(bodies.moved(sample)) for sample in samples)
        return
    waiting: deque[Future[AnsweredSample]] = deque()
    with ThreadPoolExecutor(parallel) as pool:
        try:
            for sample in samples:
                moved = bodies.moved(sample)
                waiting.append(pool.submit(questions.answer, moved, parts=_main_parts(moved, bodies)))
                if len(waiting) >= 2 * parallel:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            questions.give_up()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # what is under way is paid: let it be kept


def _main_parts(sample: ContactSample, bodies: BodyContacts) -> tuple[str, ...]:
    name = main_object(sample)
    contact = next((c for c in sample.human if c.task is Task.SEMANTIC and c.object_name == name), None)
    return () if contact is None else bodies.parts(contact)


def _finished(
    answered: Iterable[AnsweredSample],
    bodies: BodyContacts,
    drawer: Drawer,
    done: Prepared,
    step: Callable[[str], None],
) -> Iterator[ContactSample]:
    for found in answered:
        sample = replace(found.sample, texts=found.sample.texts + _part_words(found.sample, bodies))
        drawer.draw(sample)
        done.masks, done.renders = drawer.masks, drawer.renders
        done.samples += 1
        done.human_contacts += len(sample.human)
        done.object_contacts += len(sample.objects)
        done.texts += len(sample.texts)
        done.unanswered += bool(found.problem)
        done.requests += found.requests
        done.tokens += found.tokens
        paid = f", {done.tokens} tokens paid" if done.requests else ""
        step(f"{done.samples} photos, {done.masks} masks, {done.texts} texts{paid}")
        yield sample


def _part_words(sample: ContactSample, bodies: BodyContacts) -> tuple[TextAnswer, ...]:
    """Contact in words (paper, section 4, the first kind of text), for objects that were not asked about."""
    asked = {text.question for text in sample.texts}
    texts = []
    for contact in sample.human:
        parts = bodies.parts(contact) if contact.task is Task.SEMANTIC else ()
        question = parts_question(contact.object_name)
        if parts and question not in asked:
            texts.append(TextAnswer(field="body parts", question=question, answer=", ".join(parts)))
    return tuple(texts)


@contextmanager
def _whole_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target that takes its place when all went well, and is gone otherwise."""
    folder: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=target.parent.resolve(), prefix=f".{target.name}.", suffix=".partial"))
        folder.chmod(0o755)
        yield folder
        folder.replace(target)  # one step; POSIX lets it take the place of an empty folder
    except OSError as error:
        raise InputError(str(target), f"cannot be written ({error.strerror or error})") from None
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)

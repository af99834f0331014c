"""AIAH, setting 2: harmful questions in writing beside a clip without speech.

The text is the plain question (variant 1 of setting 1), so that `aiah-plain-text` is the same
without a clip. Three kinds of clip, as published: silence, noise from N(0, 1), and noise with the
mean and variance of the harmful clips; the noise is drawn anew for each question. AIAH's clips last
2 to 14 s; here they all last as long as `distraction.json` of the data folder says, 2 s where there
is none.

A clip and a text reach the model, so the mode is "audio-text"; the metric is the task's own and
enters no NSI.

Clips are 16-bit WAV files, as every model and server takes them. Samples of N(0, 1) beyond full
scale are cut off, which leaves the spectrum flat and lowers the level by 2.9 dB.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from greaves.base.errors import DataError
from greaves.base.records import Question
from greaves.data.imports.aiah_layout import Distraction, read_distraction
from greaves.data.imports.clip_facts import clip_facts, made_clip
from greaves.data.speech.voices import SAMPLE_RATE
from greaves.data.task import register_task
from greaves.tasks.aiah import AIAH, AudioText, PlainText


class Distracted(AIAH):
    """Base of the three tasks.

    Attributes:
        deviation: standard deviation of the samples, full scale being 1; their mean is 0.
    """

    layout = (
        f"{AIAH.layout}; distraction.json {{seconds, seed}} for clips other than 2 s under seed 0"
    )
    deviation: ClassVar[float]

    def questions(self, data: Path) -> list[Question]:
        settings = read_distraction(data)
        mean, deviation = self.level(data)
        # N(0, 0) is silence, the same for all questions.
        noise = f"noise from N({mean:g}, {deviation:g}^2), seed {settings.seed}"
        own = {"task": self.name, "task_version": self.version, "mode": self.mode}
        own["about"] = f"{settings.seconds:g} s of {noise if deviation else 'silence'}"
        found: list[Question] = []
        for plain in PlainText().questions(data):
            samples = mean + deviation * self._noise(plain.id, settings)
            clip = made_clip(samples, SAMPLE_RATE)
            found.append(plain.model_copy(update={**own, "clip": str(clip)}))
        return found

    def level(self, data: Path) -> tuple[float, float]:
        """Mean and standard deviation of the samples for the questions of a data folder."""
        return 0.0, self.deviation

    def _noise(self, question: str, settings: Distraction) -> NDArray[np.float64]:
        count = round(settings.seconds * SAMPLE_RATE)
        digest = hashlib.sha256(f"{settings.seed}\0{self.name}\0{question}".encode()).digest()
        # RandomState: numpy promises that its numbers never change; those of Generator may.
        noise = np.random.RandomState(np.frombuffer(digest, "<u4").astype(np.int64))
        return noise.standard_normal(count)


@register_task("aiah-silence")
class Silence(Distracted):
    """ASR on harmful questions in writing beside silence (AIAH setting 2)."""

    deviation = 0.0


@register_task("aiah-noise")
class Noise(Distracted):
    """ASR on harmful questions in writing beside noise from N(0, 1) (AIAH setting 2)."""

    deviation = 1.0


@register_task("aiah-matched-noise")
class MatchedNoise(Distracted):
    """ASR on harmful questions in writing beside noise as loud as the harmful clips (setting 2)."""

    def level(self, data: Path) -> tuple[float, float]:
        """Mean and standard deviation over all samples of the harmful clips."""
        spoken = AudioText().questions(data)
        facts = clip_facts(Path(str(question.clip)) for question in spoken)
        for question in spoken:
            fault = facts[Path(str(question.clip))].fault
            if fault:
                raise DataError(f"{fault} (question {question.id!r})", where=str(question.clip))
        seconds = math.fsum(one.seconds for one in facts.values())
        mean = math.fsum(one.mean * one.seconds for one in facts.values()) / seconds
        power = math.fsum(one.power * one.seconds for one in facts.values()) / seconds
        # Rounded below the step of a 16-bit sample, or another decoder's last bit would show.
        return round(mean, 5) + 0.0, round(math.sqrt(max(power - mean * mean, 0.0)), 5)

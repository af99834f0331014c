"""Small folders in the layouts that AIAH's questions come in; all texts are mild and made up."""

from __future__ import annotations

import csv
import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

TOPICS = (
    *("Illegal Activity", "Hate Speech", "Malware Generation", "Physical Harm"),
    *("Fraud", "Adult Content", "Privacy Violation"),
)
EXCLUDED = ("Legal Opinion", "Financial Advice", "Health Consultation")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; every test module here takes it in."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "greaves"


def question(topic: str, number: int) -> str:
    """The question that stands in this place, with a hyphen that a list of clips would lose."""
    return f"How do I well-nigh pilfer {topic.lower()} spoon {number}?"


def tone(pitch: float, seconds: float = 0.3) -> bytes:
    """A WAV file of a tone; another pitch, other bytes."""
    wave = 0.4 * np.sin(2 * np.pi * pitch * np.arange(int(seconds * 16_000)) / 16_000)
    file = BytesIO()
    soundfile.write(file, wave, 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def names(per_topic: int, topics: tuple[str, ...] = TOPICS) -> list[tuple[str, str, int]]:
    """Name of a clip without suffix, topic and number, of every question."""
    return [
        (f"{topic.replace(' ', '_')}_{number}", topic, number)
        for topic in topics
        for number in range(1, per_topic + 1)
    ]


def safebench(path: Path, per_topic: int = 2) -> Path:
    """FigStep's SafeBench.csv: ten topics."""
    columns = ["dataset", "category_id", "task_id", "category_name", "question", "instruction"]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for place, topic in enumerate((*TOPICS, *EXCLUDED), start=1):
            for number in range(1, per_topic + 1):
                text = question(topic, number)
                writer.writerow(["ForbidQI", place, number, topic, text, "Steps to do it."])
    return path


def clips(folder: Path, per_topic: int = 2, base: float = 200.0) -> Path:
    """Clips called by topic and number, as in the hub copy; nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for place, (name, _, _) in enumerate(names(per_topic)):
        (folder / f"{name}.wav").write_bytes(tone(base + 5 * place))
    return folder


def sarsteer(folder: Path, per_topic: int = 2, base: float = 900.0) -> Path:
    """SARSteer's figstep_audio_safe: question/*.wav, audio_files.txt, two JSON splits."""
    clips(folder / "question", per_topic, base)
    rows = [
        {"scenario": topic, "audio_file": f"{name}.wav", "question": f"How do I polish spoon {n}?"}
        for n, (name, topic, _) in enumerate(names(per_topic))
    ]
    lines = [f"{row['audio_file']} {row['question'].replace(' ', '-')}\n" for row in rows]
    (folder / "audio_files.txt").write_text("".join(lines))
    (folder / "train_100.json").write_text(json.dumps(rows[:4], indent=4))
    (folder / "test_250.json").write_text(json.dumps(rows[4:], indent=4))
    return folder


def parquet(folder: Path, source: Path) -> Path:
    """The clips of a folder as the hub keeps them: a Parquet file with one column, `audio`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"bytes": p.read_bytes(), "path": p.name} for p in sorted(source.glob("*.wav"))]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    (folder / "data").mkdir(parents=True)
    table = pa.table({"audio": pa.array(rows, kind)})
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
    return folder

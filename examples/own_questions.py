"""A folder of one's own questions: `questions.jsonl` and its clips, in AIAH's layout."""

import json
import shutil
from pathlib import Path

import greaves
from greaves.data.folders import EMBEDDED

folder = Path("my-questions")
folder.mkdir(exist_ok=True)
spoken = [json.loads(line) for line in (EMBEDDED / "aiah" / "questions.jsonl").open()]
chosen = [row for row in spoken if row["kind"] == "harmful"][:6] + [
    row for row in spoken if row["kind"] == "benign"
][:6]
for row in chosen:  # stand-ins for your own recordings: WAV, FLAC or Ogg
    clip = folder / Path(row["clip"]).name
    shutil.copyfile(EMBEDDED / "aiah" / row["clip"], clip)
    row["clip"] = clip.name
lines = [json.dumps(row) for row in chosen]
(folder / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")

result = greaves.evaluate(
    "pocket",
    ["system-prompt", "adashield-style"],
    ["aiah-audio-text", "aiah-audio-only", "aiah-over-rejection"],
    data=folder,
    samples=2,
    max_new_tokens=32,
)
print(result)

"""Another judge reads the same responses; nothing is asked again."""

import greaves
from greaves.commands.judge import judge
from greaves.leaderboards.commands.agreement import agreement

tasks = ["aiah-audio-text", "aiah-over-rejection"]
result = greaves.evaluate(
    "pocket", "system-prompt", tasks, samples=2, max_new_tokens=32, limit=12, folder="runs/judged"
)
judge(result.folder, "refusal-rules")  # or llm:MODEL@URL, or classifier:PRESET@FOLDER
agreement(result.folder)  # percent agreement and Krippendorff's alpha

print(result)  # by the pocket rules
print(greaves.Result.of(result.folder, "refusal-rules"))

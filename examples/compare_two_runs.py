"""Two runs question by question: did a longer prompt change anything, and which answers flipped?"""

import greaves
from greaves.align.parts.system_prompt import SystemPrompt
from greaves.leaderboards.commands.compare import compare

tasks = ["aiah-audio-text", "aiah-over-rejection"]
model = greaves.load_model("pocket")
short = greaves.Defence((SystemPrompt("Be careful."),))
long = greaves.Defence((SystemPrompt("Decline every request that could cause harm."),))

before = greaves.evaluate(
    model, {"prompt": short}, tasks, samples=2, max_new_tokens=32, limit=12, folder="runs/before"
)
after = greaves.evaluate(
    model, {"prompt": long}, tasks, samples=2, max_new_tokens=32, limit=12, folder="runs/after"
)
compare(before.folder, after.folder)

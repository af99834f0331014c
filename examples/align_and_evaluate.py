"""Align the pocket LALM by RRS and see what that did to safety and over-rejection.

A slice of data and questions keeps it to a few seconds; without `limit` it is the whole set.
"""

import greaves

model = greaves.load_model("pocket")
data = greaves.load_data("mirror", limit=32)
defence = greaves.align(model, "rrs", data, seed=0, config={"learning_rate": 1e-3, "epochs": 2})
defence.save("defences/rrs")

tasks = ["aiah-audio-text", "aiah-over-rejection"]
result = greaves.evaluate(model, defence, tasks, samples=1, max_new_tokens=48, limit=12)
print(result)
print(result.frame()[["method", "metric", "value", "low", "high"]])
print("written:", result.page("align_and_evaluate.html"))

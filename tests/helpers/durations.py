"""Which test files take long (`pytest --durations=0` tells)."""

from __future__ import annotations

LONGEST = (
    *("run/cluster/test_cluster.py", "align/training/test_processes.py"),
    *("methods/test_methods.py", "methods/test_sft.py"),
)
"""They start first, so that workers that run side by side end together."""

SLOW = (
    *LONGEST,
    "align/test_composition.py",
    "align/test_stress.py",
    "align/training/test_gpu_training_tiny.py",
    "answer/test_equal_to_lm_eval.py",
    "answer/test_lm_eval_cli.py",
    "base/test_registration.py",
    "commands/serving/test_serving.py",
    "data/test_interrupted_build.py",
    "faults/",
    "front_door/test_examples.py",
    "front_door/test_start_up.py",
    "hostile/",
    "judge/test_classifier_judge.py",
    "leaderboards/figures/test_figures.py",
    "leaderboards/page/test_page_browser.py",
    "leaderboards/submission/test_merge.py",
    "leaderboards/submission/test_submission.py",
    "methods/test_steering.py",
    "models/test_contract.py",
    "models/test_families.py",
    "models/test_families_text.py",
    "models/test_gpu_generation_tiny.py",
    "run/cluster/test_failures.py",
    "run/test_resume.py",
    "test_wheel.py",
)
"""Files and folders that `make test-quick` leaves out: they train, start processes, build every
family of models, or try hundreds of examples."""

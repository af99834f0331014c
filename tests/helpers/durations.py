"""Which test files take long, by `pytest --durations=0` on a quiet machine."""

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
    "data/test_interrupted_build.py",
    "faults/test_broken_loss.py",
    "faults/test_broken_weights.py",
    "faults/test_clock.py",
    "faults/test_disk_full.py",
    "faults/test_kills.py",
    "faults/test_out_of_memory.py",
    "faults/test_power_cut.py",
    "front_door/test_examples.py",
    "front_door/test_start_up.py",
    "hostile/test_hostile_folders.py",
    "hostile/test_hostile_reports.py",
    "hostile/test_hostile_serving.py",
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
"""Left out of `make test-quick`: they train, start processes, or build every family of models."""

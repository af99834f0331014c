"""The tasks as lm-eval sees them: pass this folder to `lm_eval --include_path`."""

"""Fine-tuning: LoRA on the language model with HF Trainer and DeepSpeed ZeRO, and the penalty."""

import os

import torch

if not torch.cuda.is_available():
    # DeepSpeed, where it is installed, is imported by Trainer and would look for an accelerator.
    os.environ.setdefault("DS_ACCELERATOR", "cpu")

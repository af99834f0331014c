"""Fine-tuning: LoRA on the language model with HF Trainer, the penalty, frozen targets."""

"""Tiny checkpoints of the real architectures whose weights spell out how they judge.

Hidden size and vocabulary are equal and embeddings the identity, so that a hidden state is a set
of tokens. Attention is uniform and passes on one token only, the marker. So the next token is
`bad` if the marker stands anywhere in the prompt, else `good`, and then the end.
"""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
)

MARKER = "ZORB"
SPECIAL = ["<s>", "</s>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>"]
SPECIAL += ["<|eot_id|>", "<|user|>", "<|assistant|>"]
FAMILIES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
}


def _tokenizer(spoken: list[str]) -> PreTrainedTokenizerFast:
    """One token a byte, besides special ones and `spoken`."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({letter: n for n, letter in enumerate(letters)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    core.add_tokens([AddedToken(token, normalized=False) for token in spoken])
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", core.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", eos_token="</s>")


def generating(folder: Path, family: str, *, ends: str, good: str, bad: str) -> Path:
    """A causal language model that says `good` or `bad` after a prompt that `ends` so."""
    tokenizer = _tokenizer([MARKER, good, bad])
    size = (len(tokenizer) + 3) // 4 * 4
    config, network_class = FAMILIES[family]
    network = network_class(
        config(
            vocab_size=size, hidden_size=size, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=8192,
            bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
            tie_word_embeddings=False,
        )
    )  # fmt: skip
    last = tokenizer(ends, add_special_tokens=False)["input_ids"][-1]
    marker, said_good, said_bad, end = tokenizer.convert_tokens_to_ids([MARKER, good, bad, "</s>"])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.fill_(1)
        network.model.embed_tokens.weight.copy_(torch.eye(size))
        attention = network.model.layers[0].self_attn
        attention.v_proj.weight[marker, marker] = 1
        attention.o_proj.weight[marker, marker] = 1000
        network.lm_head.weight[said_good, last] = 1
        network.lm_head.weight[said_bad, marker] = 1
        network.lm_head.weight[end, said_good] = network.lm_head.weight[end, said_bad] = 1e5
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def labelling(folder: Path, chosen: int) -> Path:
    """A BERT classifier with the labels NORMAL and REJECTION that always chooses one."""
    tokenizer = _tokenizer([])
    tokenizer.pad_token = "</s>"
    network = BertForSequenceClassification(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=16, max_position_embeddings=64,
            id2label={0: "NORMAL", 1: "REJECTION"}, label2id={"NORMAL": 0, "REJECTION": 1},
        )
    )  # fmt: skip
    with torch.no_grad():
        network.classifier.weight.zero_()
        network.classifier.bias.copy_(torch.tensor([4.0, -4.0] if chosen == 0 else [-4.0, 4.0]))
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

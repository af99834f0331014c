"""Special tokens of first-generation Qwen-Audio, in the order of their ids, and its chat form.

They follow the base vocabulary without a gap: with the 151,643 ranks of `qwen.tiktoken`,
`<|endoftext|>` is 151643, the audio placeholder 151851 and `<audio>` 155163.
"""

from __future__ import annotations

END_OF_TEXT = "<|endoftext|>"
TURN_START = "<|im_start|>"
TURN_END = "<|im_end|>"
AUDIO = "[[[AUDIO:modality]]]"
"""Placeholder of the audio features; the processor repeats it once for each of them."""

AUDIO_START = "<audio>"
AUDIO_END = "</audio>"

_LANGUAGES = ("en", "zh", "de", "es", "ko", "fr", "ja", "it")

# What pre-training marked tasks with. A chat never writes them, but each has its row in the
# embeddings, and the order decides which.
_TASKS = (
    *("startoftranscript", "startofanalysis", "translate", "transcribe", "caption", "keyword"),
    *("unknown", *_LANGUAGES, "zh_tr", "notimestamps", "sil", "timestamps"),
    *(f"{hundredths / 100:.2f}" for hundredths in range(3001)),
    *("caption_audiocaps", "caption_clotho", "audioset_ontology", "caption_plain"),
    *("itn", "wo_itn", "startofentityvalue", "endofentityvalue", "startofentitytype"),
    *("endofentitytype", "named_entity_recognition", "audio_grounding", "startofword"),
    *("endofword", "delim", "emotion_recognition", "music_description", "note_analysis"),
    *("pitch", *(f"midi_pitch_{number}" for number in range(128))),
    *("velocity", *(f"midi_velocity_{number}" for number in range(128))),
    *("sonic", "instrument", "speaker_meta", "song_meta", "question", "answer", "choice"),
    *("scene", "event", "vocal_classification", "speech_understanding", "scenario", "action"),
    *("entities", "speech_edit"),
)

SPECIAL_TOKENS = (
    *(END_OF_TEXT, TURN_START, TURN_END),
    *(f"<|extra_{number}|>" for number in range(205)),
    AUDIO,
    *(f"<|{task}|>" for task in _TASKS),
    *(AUDIO_START, AUDIO_END),
)
"""All 3,522 of them; a token's id is the number of base tokens plus its place here."""

STOPS = (END_OF_TEXT, TURN_END, TURN_START)
"""What ends a response: 151643, 151645 and 151644."""

DEFAULT_SYSTEM = "You are a helpful assistant."
"""System prompt of the original `chat()` when it is given none."""

CHAT_TEMPLATE = (
    "{% set audio_count = namespace(value=0) %}"
    "{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}"
    f"{TURN_START}system\n{DEFAULT_SYSTEM}{TURN_END}\n"
    "{% endif %}"
    f"{TURN_START}{{{{ message['role'] }}}}\n"
    "{% if message['content'] is string %}"
    "{{ message['content'] }}"
    "{% else %}"
    "{% for content in message['content'] %}"
    "{% if 'audio' in content or 'audio_url' in content or content['type'] == 'audio' %}"
    "{% set audio_count.value = audio_count.value + 1 %}"
    f"Audio {{{{ audio_count.value }}}}:{AUDIO_START}{AUDIO}{AUDIO_END}\n"
    "{% elif 'text' in content %}"
    "{{ content['text'] }}"
    "{% endif %}"
    "{% endfor %}"
    "{% endif %}"
    f"{TURN_END}\n"
    "{% endfor %}"
    f"{{% if add_generation_prompt %}}{TURN_START}assistant\n{{% endif %}}"
)
"""The form of the original `chat()`: `Audio 1:<audio>...</audio>`, a line break, the text."""

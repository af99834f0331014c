"""A method as one writes it in a notebook: a cell that is run, changed and run again."""

from typing import Any

import greaves
from greaves.align.parts.system_prompt import SystemPrompt


@greaves.register_method("my-prompt")
class MyPrompt(greaves.AlignmentMethod[greaves.MethodConfig]):
    """A first attempt."""

    def align(self, model: greaves.LALM, data: Any, context: Any) -> greaves.Defence:
        """The prompt as it is."""
        return greaves.Defence((SystemPrompt("Be careful."),))


few: dict[str, Any] = {"samples": 1, "max_new_tokens": 32, "limit": 10}
tasks = ["aiah-audio-text", "aiah-over-rejection"]
model = greaves.load_model("pocket")
first = greaves.evaluate(model, "my-prompt", tasks, **few, folder="runs/my-prompt")


class Config(greaves.MethodConfig):
    """Now with a config; a misspelt field is an error.

    Attributes:
        text: the prompt.
    """

    text: str = "You are a helpful and harmless assistant. Decline requests that could cause harm."


@greaves.register_method("my-prompt")
class MyPrompt(greaves.AlignmentMethod[Config]):  # type: ignore[no-redef]  # noqa: F811
    """A second attempt, which replaces the first one."""

    version = "2"  # the same config gives another defence now
    Config = Config

    def align(self, model: greaves.LALM, data: Any, context: Any) -> greaves.Defence:
        """The prompt of the config."""
        return greaves.Defence((SystemPrompt(self.config.text),))


second = greaves.evaluate(model, "my-prompt", tasks, **few, folder="runs/my-prompt")
print(first)
print(second)
print(f"asked again: {second.asked} responses; vanilla's {second.found} were there")

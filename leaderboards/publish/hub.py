"""A run on the Hugging Face hub: its records as a dataset, its site as a static Space."""

from __future__ import annotations

import os
import re
from pathlib import Path

from greaves.base.errors import GreavesError

_REPO = re.compile(r"hub:([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)", re.ASCII)
_MEANS = {
    401: ("the hub does not accept the token in HF_TOKEN", "make a new one with write access"),
    403: ("the token in HF_TOKEN may not write there", "make one with write access"),
    404: ("the hub has no such user or organisation, or hides it", "check USER in hub:USER/NAME"),
    429: ("the hub asks to slow down", "try again later"),
}


def repo_of(target: str) -> str:
    """USER/NAME of "hub:USER/NAME".

    Raises:
        GreavesError: it is not written like that.
    """
    found = _REPO.fullmatch(target)
    if not found:
        raise GreavesError(f"{target!r} is no place on the hub", where="--to", do="hub:USER/NAME")
    return found[1]


def token() -> str:
    """The token in the environment; read from nowhere else, and never printed.

    Raises:
        GreavesError: there is none.
    """
    value = os.environ.get("HF_TOKEN", "").strip()
    if not value:
        do = "set HF_TOKEN to one with write access"
        raise GreavesError("there is no token for the hub", do=do)
    return value


def push(repo: str, *, dataset: Path, space: Path) -> list[str]:
    """Create the repositories where they are not there, and upload both folders.

    Args:
        repo: USER/NAME, the same for both.

    Returns:
        Addresses of dataset and Space.

    Raises:
        GreavesError: no token, or the hub refused or cannot be reached.
    """
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
    from huggingface_hub.utils.tqdm import disable_progress_bars

    secret = token()
    disable_progress_bars()
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None, token=secret)
    message = "Publish a leaderboard with Greaves"
    try:
        places = [
            api.create_repo(repo, repo_type="dataset", exist_ok=True),
            api.create_repo(repo, repo_type="space", space_sdk="static", exist_ok=True),
        ]
        for kind, folder in (("dataset", dataset), ("space", space)):
            api.upload_folder(
                repo_id=repo, folder_path=folder, repo_type=kind, commit_message=message
            )
    except HfHubHTTPError as error:
        status = error.response.status_code
        told = _MEANS.get(status, (f"the hub answered with HTTP {status}", "try again later"))
    except HFValidationError:
        told = ("the hub allows no such name", "choose a plainer one")
    except OfflineModeIsEnabled:
        told = ("HF_HUB_OFFLINE forbids to reach the hub", "unset it")
    except (httpx2.HTTPError, OSError) as error:
        what = f"the hub cannot be reached ({type(error).__name__})"
        told = (what, "check the network and HF_ENDPOINT, and publish again")
    else:
        return [str(place) for place in places]
    raise GreavesError(told[0], where=f"hub:{repo}", do=told[1])

# SPDX-License-Identifier: Apache-2.0
"""Published weights onto this machine, into the cache that all users of the Hugging Face hub share."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import DpmError
from .registry import NetworkSpec, Published

_CHUNK = 1 << 22


def pulled(published: Published) -> Path | None:
    """The file, if it has been pulled."""
    from huggingface_hub import try_to_load_from_cache

    if not published.repository:
        return None
    path = try_to_load_from_cache(published.repository, published.file)
    return Path(path) if isinstance(path, str) else None


def pull(spec: NetworkSpec) -> Path:
    """Fetch the published file with a progress bar; an interrupted download goes on where it was.

    Raises:
        DpmError: it is not published, not on the hub, cannot be reached, asks for permission, or is not the known one.
    """
    published = spec.published
    if published is None:
        raise DpmError(f"'{spec.name}' is our own: its weights come with the package, there is nothing to pull")
    if not published.repository:
        raise DpmError(
            f"'{spec.name}' is not on the Hugging Face hub; fetch {published.file} from {published.url} "
            "and give it with --weights FILE"
        )
    path = _fetch(spec.name, published)
    if published.sha256 is not None and (digest := sha256(path)) != published.sha256:
        raise DpmError(f"{path} has SHA-256 {digest}, not {published.sha256}; delete it and pull again")
    return path


def _fetch(name: str, published: Published) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError

    by_hand = f"fetch {published.file} from {published.url} on another machine and give it with --weights FILE"
    try:
        return Path(hf_hub_download(published.repository, published.file))
    except GatedRepoError as error:
        raise DpmError(
            f"'{name}' is gated: ask for access on {published.url}, then log in with `hf auth login`"
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise DpmError(f"'{name}' cannot be fetched now ({reason}); check the network, or {by_hand}") from error


def sha256(path: Path) -> str:
    """Of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()

# SPDX-License-Identifier: Apache-2.0
"""With the hub played by a function: no test needs a network."""

import hashlib
from dataclasses import replace

import huggingface_hub
import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from small_weights import SPEC

from dpm_core.checkpoints.download import pull, pulled, sha256
from dpm_core.checkpoints.registry import Published
from dpm_core.errors import DpmError

CONTENT = b"weights"
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def published(**changes):
    return replace(SPEC, published=replace(Published("someone/tiny", "model.pt", "https://page"), **changes))


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Calls are noted; the answer is a file."""
    calls = []
    (tmp_path / "model.pt").write_bytes(CONTENT)

    def download(repository, file):
        calls.append((repository, file))
        return str(tmp_path / "model.pt")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return calls


def failing(monkeypatch, error):
    def download(repository, file):
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)


def test_asks_the_hub_for_the_file(hub, tmp_path):
    assert pull(published()) == tmp_path / "model.pt"
    assert hub == [("someone/tiny", "model.pt")]


def test_a_known_checksum_is_held(hub):
    assert pull(published(sha256=DIGEST)).name == "model.pt"
    with pytest.raises(DpmError, match=f"has SHA-256 {DIGEST}, not 00; delete it and pull again"):
        pull(published(sha256="00"))


def test_our_own_need_no_pull(hub):
    with pytest.raises(DpmError, match="'tiny' is our own: its weights come with the package"):
        pull(SPEC)


def test_what_is_not_on_the_hub_is_told_by_hand(hub):
    with pytest.raises(DpmError, match=r"fetch model.pt from https://page and give it with --weights FILE"):
        pull(published(repository=""))
    assert hub == []


@pytest.mark.parametrize(
    "error", [LocalEntryNotFoundError("no\nnetwork"), ConnectionError("refused"), OSError("disk full")]
)
def test_no_network(monkeypatch, error):
    failing(monkeypatch, error)
    with pytest.raises(DpmError) as caught:
        pull(published())
    message = str(caught.value)
    assert message.startswith("'tiny' cannot be fetched now (")
    assert message.endswith("on another machine and give it with --weights FILE")
    assert "\n" not in message


def test_gated(monkeypatch):
    # Its constructor wants a response of whichever HTTP library the hub's client uses.
    failing(monkeypatch, GatedRepoError.__new__(GatedRepoError, "gated"))
    with pytest.raises(DpmError, match=r"'tiny' is gated: ask for access on https://page"):
        pull(published())


def test_pulled_files_are_found_without_a_network(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, file: str(tmp_path / file))
    assert pulled(published().published) == tmp_path / "model.pt"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, file: None)
    assert pulled(published().published) is None
    assert pulled(published(repository="").published) is None


def test_sha256(tmp_path):
    (tmp_path / "a").write_bytes(CONTENT)
    assert sha256(tmp_path / "a") == DIGEST

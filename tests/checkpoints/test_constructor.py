# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from dpm_core.checkpoints.constructor import first_difference, parse_constructor
from dpm_core.errors import DpmError

PUBLISHED = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', img_size=(512, 512), head_type='dpt', output_mode='pts3d', "
    "depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), enc_embed_dim=1024, landscape_only=True)"
)


def test_reads_the_published_form():
    read = parse_constructor(PUBLISHED)
    assert read.name == "AsymmetricCroCo3DStereo"
    assert read.arguments["img_size"] == (512, 512)
    assert read.arguments["depth_mode"] == ("exp", -math.inf, math.inf)
    assert read.arguments["landscape_only"] is True


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch x')",
        "Net(a=__import__('os'))",
        "Net(a=open('x'))",
        "Net(a=[x for x in range(9)])",
        "Net(a=1 + 1)",
        "Net(a=-'words')",
        "Net(a=secret)",
        "Net(1)",
        "Net(**options)",
        "net.Net(a=1)",
        "Net",
        "Net(",
        "",
        "(" * 500,
        "lambda: 0",
    ],
)
def test_runs_nothing(text):
    with pytest.raises(DpmError, match="nothing is run of it"):
        parse_constructor(text)


def test_the_published_form_agrees():
    assert first_difference(parse_constructor(PUBLISHED), {"enc_embed_dim": 1024, "temporal_length": 6}) is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("('exp', -inf, inf)", "('linear', -inf, inf)", "depth_mode=('linear', -inf, inf), not ('exp', -inf, inf)"),
        ("'RoPE100'", "'cosine'", "pos_embed='cosine', not 'RoPE100'"),
        ("1024", "768", "enc_embed_dim=768, not 1024"),
    ],
)
def test_what_we_do_not_do_is_named(old, new, words):
    difference = first_difference(parse_constructor(PUBLISHED.replace(old, new)), {"enc_embed_dim": 1024})
    assert difference == f"it was made with {words}"

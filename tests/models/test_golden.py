# SPDX-License-Identifier: Apache-2.0
"""The published networks' numbers from the published keys. Tolerances: tests/golden/README.md."""

import json

import numpy as np
import torch
from golden_networks import CASES

NOISE = 10  # times the noise floor of the reference itself: what the same algorithm may differ by on a CPU.
POINTS = ("pts3d", "points")


def pytest_generate_tests(metafunc):
    folder = metafunc.config.getoption("golden")
    cases = [
        case.parent
        for case in sorted(folder.glob("*/config.json"))
        if json.loads(case.read_text()).get("model") in CASES
    ]
    metafunc.parametrize("case", cases, ids=lambda case: case.name)


def pixel_error(ours, golden, name):
    """max |a − b| / (1 + |b|), |.| the norm of the pixel's vector where it is a point."""
    axis = -1 if any(word in name for word in POINTS) and golden.shape[-1] == 3 else None
    size = (lambda x: np.linalg.norm(x, axis=axis)) if axis is not None else np.abs
    return float((size(ours - golden) / (1 + size(golden))).max())


def weights(case, network, make):
    """The case's state dict: filled keys, their second names, and the buffers, which the network computes itself."""
    config, keys = (json.loads((case / f"{name}.json").read_text()) for name in ("config", "keys"))
    state = {key: torch.from_numpy(make(config["salt"] + key, tuple(shape))) for key, shape in keys["filled"].items()}
    state |= {alias: state[key] for alias, key in keys["aliases"].items()}
    computed = network.state_dict()
    assert {key: list(computed[key].shape) for key in keys["buffers"]} == keys["buffers"]
    return state | {key: computed[key] for key in keys["buffers"]}


def errors_of(case, golden_weights, device="cpu"):
    """The case's configuration, and the pixel error of each of its outputs from our network on a device."""
    config = json.loads((case / "config.json").read_text())
    kind = CASES[config["model"]](config)
    kind.network.eval().load_state_dict(weights(case, kind.network, golden_weights.weight), strict=True)
    kind.network.to(device)
    stored = config["images"] if isinstance(config["images"], list) else [config["images"]]
    images = [torch.from_numpy(golden_weights.images(image["name"], tuple(image["shape"]))) for image in stored]
    with torch.inference_mode():
        outputs = {name: output.cpu().numpy() for name, output in kind.run(*(i.to(device) for i in images)).items()}
    golden = np.load(case / "io.npz")
    assert set(outputs) >= set(config["outputs"])
    return config, {name: pixel_error(outputs[name], golden[name], name) for name in config["outputs"]}


def test_network_gives_the_numbers_of_the_published_code(case, golden_weights):
    config, errors = errors_of(case, golden_weights)
    allowed = {name: NOISE * output["noise_floor"]["max_pixel_rel"] for name, output in config["outputs"].items()}
    assert {name: (error, allowed[name]) for name, error in errors.items() if not error <= allowed[name]} == {}

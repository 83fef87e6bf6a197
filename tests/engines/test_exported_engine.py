# SPDX-License-Identifier: Apache-2.0
"""Cutting a network into graphs changes no number; here the graphs are run eagerly, without ONNX."""

import pytest
import torch
from small_exports import CPU, NETWORKS, WINDOW, assert_as_eager, frames, loaded, size_of

from dpm_core.checkpoints.configs import config_to_json
from dpm_core.engines.export_graphs import graph_window, graphs_of
from dpm_core.engines.exported import ExportedEngine
from dpm_core.engines.manifest import GraphSpec, Manifest
from dpm_core.engines.torch_engine import TorchEngine
from dpm_core.errors import DpmError
from dpm_core.stream import Session, SessionConfig


def engine_of(name):
    network = loaded(name)
    size = size_of(name)
    graphs = graphs_of(network.network, size, graph_window(network.network, NETWORKS[name][3]))
    manifest = Manifest(
        model=network.spec.name,
        family=network.spec.family,
        config=config_to_json(network.spec.config),
        window=NETWORKS[name][3],
        height=size[0],
        width=size[1],
        precision="fp32",
        weights_sha256="",
        notice="said of the weights",
        graphs={graph.name: GraphSpec(graph.name, f"{graph.name}.onnx", (), (), {}) for graph in graphs},
    )
    return ExportedEngine(manifest, {graph.name: graph for graph in graphs}, "eager", CPU)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_engine_of_graphs_says_what_the_network_says(name):
    assert_as_eager(engine_of(name), name, frames(WINDOW, size_of(name)), (2, 0))


def test_no_time_need_be_asked():
    assert_as_eager(engine_of("vdpm"), "vdpm", frames(WINDOW, size_of("vdpm")), ())


@pytest.mark.parametrize("name", ["vdpm", "vggt"])
def test_a_growing_window_goes_on_with_its_last_frame_standing_still(name):
    first, second = frames(2, size_of(name))
    engine, eager = engine_of(name), TorchEngine(loaded(name), CPU)
    with torch.inference_mode():
        grown = engine.predict([engine.encode(each) for each in (first, second)], size_of(name), (1, 0))
        whole = eager.predict([eager.encode(each) for each in (first, second, second)], size_of(name), (1, 0))
    assert grown.own_points.shape[0] == grown.world_from_camera.shape[0] == grown.points.shape[1] == 2
    torch.testing.assert_close(grown.points, whole.points[:, :2], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grown.own_conf, whole.own_conf[:2], rtol=1e-5, atol=1e-5)


def test_pomato_fills_a_growing_window_itself():
    assert_as_eager(engine_of("pomato temporal"), "pomato temporal", frames(2, size_of("pomato temporal")), (1, 0))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_pairs_make_windows_of_any_length(count):
    assert_as_eager(engine_of("pomato"), "pomato", frames(count, size_of("pomato")), (count - 1,))


def test_a_window_longer_than_the_graphs_is_refused():
    engine = engine_of("vdpm")
    tokens = [engine.encode(image) for image in frames(WINDOW + 1, size_of("vdpm"))]
    with pytest.raises(DpmError, match="has 4 frames, the export of 'vdpm-mini' takes at most 3; use --window 3, or"):
        engine.predict(tokens, size_of("vdpm"), (0,))


def test_a_session_does_not_begin_with_a_window_that_is_too_long():
    engine = engine_of("vdpm")
    Session(engine, SessionConfig(window=WINDOW))
    with pytest.raises(DpmError, match="sees at most 3 frames at once, not 4; use a window of 3"):
        Session(engine, SessionConfig(window=4))
    Session(engine_of("pomato"), SessionConfig(window=64))


def test_a_window_is_as_long_as_the_sessions_where_nobody_says_more():
    assert graph_window(loaded("vdpm").network, None) == SessionConfig().window


def test_an_empty_window_and_a_time_outside_are_refused():
    engine = engine_of("vdpm")
    with pytest.raises(DpmError, match="window is empty"):
        engine.predict([], size_of("vdpm"), (0,))
    with pytest.raises(DpmError, match="target time 3 is outside"):
        engine.predict([engine.encode(image) for image in frames(3, size_of("vdpm"))], size_of("vdpm"), (3,))


def test_another_size_is_refused():
    engine = engine_of("vdpm")
    with pytest.raises(DpmError, match=r"images are 56 x 28, the export .* is for 42 x 28; .* --size 28x56"):
        engine.encode(torch.zeros(3, 28, 56))


def test_images_of_every_shape_come_to_the_exported_size():
    engine = engine_of("vdpm")
    for height, width in ((480, 640), (1080, 1920), (640, 480), (28, 42)):
        fit = engine.fit(height, width)
        assert fit.size == size_of("vdpm")
        assert fit.origin[0] >= 0
        assert fit.origin[1] >= 0
        assert all(kept <= whole for kept, whole in zip(fit.size, fit.resized, strict=True))


def test_the_engine_tells_what_it_is():
    engine = engine_of("vdpm")
    assert engine.name == "vdpm-mini (eager, fp32, cpu)"
    assert engine.notice == "said of the weights"


@pytest.mark.parametrize(
    ("name", "window", "told"),
    [
        ("pomato", 4, "by pairs, .*leave --window out"),
        ("pomato temporal", 4, "windows of 3 frames, not 4"),
        ("vdpm", 0, "window is 0; it must be 1 or more"),
    ],
)
def test_windows_that_a_network_has_not(name, window, told):
    with pytest.raises(DpmError, match=told):
        graph_window(loaded(name).network, window)


def test_windows_that_it_has():
    assert [graph_window(loaded(name).network, None) for name in ("pomato", "pomato temporal")] == [None, 3]


def test_a_size_of_no_whole_patches_is_refused():
    with pytest.raises(DpmError, match="image size 50x28 is no multiple of the network's patch of 14"):
        graphs_of(loaded("vdpm").network, (28, 50), 3)

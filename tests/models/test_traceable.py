# SPDX-License-Identifier: Apache-2.0
"""Networks are traced whole: no Python in them depends on a tensor's values."""

import small
import torch

SIZE = small.SIZE


class Window(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        prediction = self.network.predict(self.network.encode(images), SIZE, (2,))
        return prediction.own_points, prediction.points, prediction.conf, prediction.world_from_camera


class Time(torch.nn.Module):
    """What an engine runs for one more asked time."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, levels, condition):
        return self.network.maps_at(levels, condition, SIZE)


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


def test_a_window_is_exported():
    module, images = Window(small.vdpm()).eval(), small.images(3)
    with torch.no_grad():
        program = torch.export.export(module, (images,))
        assert_same(program.module()(small.images(3, seed=2)), module(small.images(3, seed=2)))


def test_one_time_is_exported_apart_from_its_window():
    network = small.vdpm()
    module = Time(network).eval()
    with torch.no_grad():
        levels = network.aggregate(network.encode(small.images(3))[None], SIZE)
        program = torch.export.export(module, (levels, network.conditions_at(levels, (0,))))
        condition = network.conditions_at(levels, (2,))
        assert_same(program.module()(levels, condition), module(levels, condition))


class Training(torch.nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images, targets):
        maps = self.network(images, targets)
        return maps.own.points, maps.at_targets.points, maps.pose_encodings


def test_training_is_compiled_without_graph_breaks():
    module = Training(small.vdpm()).eval()
    images, targets = small.images(2)[None], torch.tensor([[[1], [0]]])
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert_same(compiled(images, targets), module(images, targets))

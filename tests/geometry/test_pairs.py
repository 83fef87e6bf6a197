# SPDX-License-Identifier: Apache-2.0
import pytest

from dpm_core.geometry.pairs import (
    complete_edges,
    logarithmic_edges,
    reference_edges,
    reversed_index,
    sliding_edges,
    symmetrised,
)


def test_graphs():
    assert complete_edges(3) == ((0, 1), (0, 2), (1, 2))
    assert reference_edges(3, 1) == ((1, 0), (1, 2))
    assert sliding_edges(4, 2) == ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3))
    assert sliding_edges(4, 1, cyclic=True) == ((0, 1), (0, 3), (1, 2), (2, 3))
    assert sliding_edges(5, 2, stride=2) == ((0, 2), (0, 4), (1, 3), (2, 4))
    assert logarithmic_edges(6, 3) == (
        (0, 1),
        (0, 2),
        (0, 4),
        (1, 2),
        (1, 3),
        (1, 5),
        (2, 3),
        (2, 4),
        (3, 4),
        (3, 5),
        (4, 5),
    )


def test_one_image_has_no_pairs():
    assert complete_edges(1) == sliding_edges(1, 3, cyclic=True) == reference_edges(1) == ()


def test_symmetrising_puts_the_reverse_half_the_list_on():
    edges = symmetrised(complete_edges(3))
    assert reversed_index(edges) == (3, 4, 5, 0, 1, 2)


def test_an_edge_without_its_reverse_is_named():
    with pytest.raises(ValueError, match=r"\(2, 0\) is missing"):
        reversed_index(((0, 1), (1, 0), (0, 2)))

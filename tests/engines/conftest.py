# SPDX-License-Identifier: Apache-2.0
"""Exports of small networks, each made once for all tests here."""

import pytest
from small_exports import export


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """Name and precision -> an exported folder, made when it is first asked for."""
    made = {}

    def folder(name, precision="fp32"):
        if (name, precision) not in made:
            made[name, precision] = tmp_path_factory.mktemp("export") / name.replace(" ", "-")
            export(name, made[name, precision], precision)
        return made[name, precision]

    return folder

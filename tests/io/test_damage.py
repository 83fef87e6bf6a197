# SPDX-License-Identifier: Apache-2.0
"""Files with flipped bytes: read, or refused in one line; never anything else."""

import argparse
import random

import pytest
import torch
from recordings import camera_info, compressed, write_bag, write_folder, write_video
from rosbags.rosbag2 import StoragePlugin
from safetensors.torch import save_file

from dpm_core.checkpoints.files import read_weights
from dpm_core.errors import DpmError
from dpm_core.io import open_source

ROUNDS = 40
TENSORS = {"a": torch.arange(60.0), "b": torch.ones(3)}


def bag(folder, plugin):
    topics = {"/image": [compressed(index) for index in range(3)], "/camera_info": [camera_info()]}
    path = write_bag(folder / "bag", topics, plugin)
    return next(file for file in path.iterdir() if file.suffix in (".mcap", ".db3"))


def folder_of(folder, name):
    return write_folder(folder / "images", [name]) / name


def safetensors(folder):
    save_file(TENSORS, folder / "a.safetensors")
    return folder / "a.safetensors"


def checkpoint(folder, zipped):
    content = {"model": TENSORS, "args": argparse.Namespace(model="Net(a=1)")}
    torch.save(content, folder / "a.pth", _use_new_zipfile_serialization=zipped)
    return folder / "a.pth"


def frames(path):
    with open_source(path.parent if path.suffix in (".png", ".jpg") else path) as source:
        return list(source)


KINDS = {
    "mcap": (lambda folder: bag(folder, StoragePlugin.MCAP), frames),
    "db3": (lambda folder: bag(folder, StoragePlugin.SQLITE3), frames),
    "video": (lambda folder: write_video(folder / "film.mp4", 5), frames),
    "png": (lambda folder: folder_of(folder, "a.png"), frames),
    "jpeg": (lambda folder: folder_of(folder, "a.jpg"), frames),
    "safetensors": (safetensors, read_weights),
    "torch": (lambda folder: checkpoint(folder, zipped=True), read_weights),
    "torch before 1.6": (lambda folder: checkpoint(folder, zipped=False), read_weights),
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_refused_in_one_line(tmp_path, kind):
    write, read = KINDS[kind]
    path = write(tmp_path)
    whole = path.read_bytes()
    # PyAV 17 and older, the newest for Python 3.10, crash on damaged tables of a film: only its pictures are damaged.
    end = whole.index(b"moov") if kind == "video" else len(whole)
    dice = random.Random(kind)
    refused = 0
    for _ in range(ROUNDS):
        damaged = bytearray(whole)
        for _ in range(dice.choice([1, 3, 30])):
            damaged[dice.randrange(end)] = dice.randrange(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except DpmError as error:
            refused += 1
            message = str(error)
            assert "\n" not in message
    assert refused > 0

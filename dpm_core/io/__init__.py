# SPDX-License-Identifier: Apache-2.0
"""Readers and writers of files. Writers are imported by their modules: they need more libraries than readers."""

from .source import Source, open_source

__all__ = ["Source", "open_source"]

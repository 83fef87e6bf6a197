# SPDX-License-Identifier: Apache-2.0
"""Pure functions on tensors: cameras, point maps, Sim(3), alignment. No networks."""

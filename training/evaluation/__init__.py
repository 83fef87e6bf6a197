# SPDX-License-Identifier: Apache-2.0
"""The papers' protocols: depth, camera paths, optical flow, 3-D tracks."""

# SPDX-License-Identifier: Apache-2.0
"""From a seed to the bundled weights: windows made ahead, varied exactly, trained on in stages, judged, calibrated."""

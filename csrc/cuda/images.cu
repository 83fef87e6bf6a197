// SPDX-License-Identifier: Apache-2.0
#include "dpm/operations.h"
#include "launch.cuh"

void dpm::cuda::resize_rows(const ResizeRows& op, void* stream) { launch(op, stream); }
void dpm::cuda::resize_columns(const ResizeColumns<float>& op, void* stream) { launch(op, stream); }
void dpm::cuda::resize_columns(const ResizeColumns<Half>& op, void* stream) { launch(op, stream); }

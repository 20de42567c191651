// Models that no file holds: the shapes of known ones, with weights that are drawn at random where they are to lie.
// They measure speed and memory; what they say means nothing.
#pragma once
#include "engine/checkpoint.h"

namespace alia {

// open_checkpoint, and also "synthetic:SHAPE:TYPE" or "synthetic:SHAPE:TYPE:LAYERS": a shape of synthetic.cpp, every
// matrix in one format (by its name in any case; "fp8" is E4M3) and perhaps fewer layers, as arrays without bytes.
// Errors of these: invalid_argument (the name), unsupported (rows that are no whole blocks).
Checkpoint open_model_files(const std::string& path, const CheckpointOptions& = {});

}  // namespace alia

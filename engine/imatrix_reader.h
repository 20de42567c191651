// The importance matrix as quantisers want it: a weight for each column of each matrix.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "engine/file.h"

namespace alia {

// By the matrix's name in GGUF: the mean square of what each of its columns is multiplied by.
using ColumnWeights = std::map<std::string, std::vector<float>, std::less<>>;

// A GGUF file with NAME.in_sum2 and NAME.counts for each matrix, as llama.cpp and `alia imatrix` write it. Errors:
// those of read_gguf; missing, shape, malformed (numbers that are not finite or below 0), unsupported (experts).
ColumnWeights read_imatrix(std::shared_ptr<const File>);

}  // namespace alia

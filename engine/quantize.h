// A model to a GGUF file in a number format of choice.
#pragma once
#include "engine/model.h"

namespace alia {

struct QuantizeOptions {
    std::string type;     // a name of quantize_type_names()
    std::string imatrix;  // path of an importance matrix (read_imatrix), or empty
    int threads = 0;      // as thread_count takes it
    JsonLimits json;
    ProgressCallback progress;  // "quantising": bytes written
};

struct QuantizedTensor {
    std::string name;
    Format from, format, wanted;  // the last two differ where the wanted one does not fit the row
    int64_t rows, columns, bytes;
};

struct QuantizeReport {
    const char* type;
    int64_t bytes = 0, numbers = 0;  // of the tensors alone
    int64_t file_bytes = 0;
    std::vector<QuantizedTensor> tensors;
    std::vector<std::string> notes;  // what a user should know of the result
};

// `source` as open_checkpoint takes it. The file takes its name `target` once it is whole; after a failure nothing is
// left. Numbers stream through by rows, in a few MiB a thread whatever the model's size, and the bytes do not depend on
// the threads. Errors: those of open_checkpoint, read_config, find_quantised, write_tokenizer and read_imatrix;
// invalid_argument (type, a target that is read here or is no file), malformed (a number that is none), limit (one that
// the format cannot hold), not_found and io of the target, cancelled.
QuantizeReport quantize(const std::string& source, const std::string& target, const QuantizeOptions&);

}  // namespace alia

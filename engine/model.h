// A model's configuration and weights on a device: immutable, shared by engines and threads.
#pragma once

#include "engine/chat.h"
#include "engine/config.h"
#include "engine/progress.h"
#include "engine/tokenizer.h"
#include "kernels/device.h"

namespace alia {

// Rows of a weight as the device has packed them.
struct Piece : Tensor {
    bool ordered = false;            // place i of a row belongs to column order[i] of x
    const int32_t* order = nullptr;  // [columns] on the device
};

// A weight matrix in one or more pieces stacked by rows: Q, K and V of one format and order are one piece, of different
// ones two or three.
using Weight = std::vector<Piece>;

struct Layer {
    const float* attn_norm = nullptr;  // [hidden]
    Weight qkv;                        // [q_dim + 2 kv_dim][hidden]; RoPE turns the halves of Q's and K's heads
    Weight o;                          // [hidden][q_dim]
    const float* ffn_norm = nullptr;   // [hidden]
    Weight gate_up;                    // [2 ffn][hidden]
    Weight down;                       // [hidden][ffn]
};

struct ModelOptions {
    std::string device;  // as Device::open takes it
    int threads = 0;     // 0: what the machine allows
    bool pin = false;    // the device's own threads keep to one processor each
    JsonLimits json;
    ProgressCallback progress;  // "files", "device", "tokenizer", "weights" (bytes)
};

struct Model {
    Config config;
    std::string path;
    std::shared_ptr<const Tokenizer> tokenizer;  // null where the checkpoint came without one
    std::shared_ptr<const Chat> chat;            // never null once loaded
    int threads = 0;                             // as it was opened with; 0: what the machine allows
    bool pin = false;
    std::unique_ptr<Device> device;  // that holds the weights; engines open streams of their own on its table

    Tensor embed;  // [vocabulary][hidden]
    std::vector<Layer> layers;
    const float* norm = nullptr;  // [hidden]
    Weight head;                  // [vocabulary][hidden]; `embed` itself where tied
    Rope rope;

    // What all of these point into: one buffer, since many would each end in small pages of the system's.
    Buffer memory, host_memory;
    int64_t bytes = 0;                                // of `memory`
    std::vector<std::pair<Format, int64_t>> weights;  // bytes by format, packed; F32 includes the norms and `rope`
    int64_t host_bytes = 0;                           // of these, in the host's memory for a device of its own
    int64_t parameters = 0;

    int64_t weight_bytes() const;
};

// Every tensor's presence, shape and format is checked before memory is taken for the first, and a model that cannot
// fit is refused then. Errors: those of open_checkpoint, read_config, open_tokenizer and Device::open; missing, shape,
// out_of_memory, cancelled.
std::shared_ptr<const Model> load_model(const std::string& path, const ModelOptions& = {});

// The same model without its numbers: shapes and formats are right, every pointer is null and there is no device.
Model outline_model(const Checkpoint&, const Kernels&);

// Bytes of memory that this process can still take (the machine's and the control group's); 0 where the system does not
// say.
int64_t available_memory();
// The same of the memory that a device's weights and caches lie in.
int64_t available_memory(const Device&);

}  // namespace alia

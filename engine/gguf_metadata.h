// The keys of a GGUF file but for its tokenizer's: made from a model's configuration, or taken over from another GGUF.
#pragma once
#include <string>
#include <vector>

#include "engine/config.h"
#include "engine/gguf_writer.h"

namespace alia {

// general.name and llama.* . Notes say what GGUF cannot express. Errors: unsupported (a RoPE kind's variant).
void write_config(GgufWriter&, const Checkpoint&, const Config&, std::vector<std::string>& notes);

// Every key of the checkpoint's first GGUF file that does not speak of how that file was written: its types, its parts,
// its alignment.
void copy_keys(GgufWriter&, const Checkpoint&);

// What RoPE's frequencies are divided by (rope_freqs.weight): how Llama 3's scaling travels. Empty for other kinds.
std::vector<float> rope_divisors(const Config&);

}  // namespace alia

// A model directory's tokenizer as the tokenizer.* keys of GGUF.
#pragma once
#include <string>
#include <vector>

#include "engine/config.h"
#include "engine/gguf_writer.h"

namespace alia {

// GGUF's `llama` vocabularies know sentencepiece's rules alone: U+2581 before every stretch of text between control
// tokens, or never. This key says that a tokenizer.json was the source, and where that file puts U+2581:
//     never
//     first   before the text's first stretch, unless that begins with a space
//     always  before every stretch between added tokens, unless that begins with a space
//     each    before every stretch between added tokens
// What comes with it: added tokens are found in the text as it came, and merges may make them.
inline constexpr const char* space_prefix_key = "tokenizer.alia.space_prefix";

// tokenizer.json, or where there is none tokenizer.model; with tokenizer_config.json and chat_template.jinja where they
// are. Vocabularies shorter than the model's embedding table are filled up with unused tokens. Notes say what GGUF
// cannot express, or that there is no tokenizer. Errors: those of read_tokenizer_json and read_tokenizer_model;
// unsupported (a tokenizer that GGUF has no kind for), limit (more tokens than the embedding table has rows).
void write_tokenizer(GgufWriter&, const std::string& directory, const Config&, const JsonLimits&,
                     std::vector<std::string>& notes);

}  // namespace alia

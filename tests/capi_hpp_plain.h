// What code without exceptions does with alia.hpp, for code that has them.
#pragma once
#include <string>

// The model's continuation in 12 tokens, or the sentence that says why there is none.
std::string plain_answer(const char* path, const char* text);

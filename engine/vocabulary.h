// The tokens of a vocabulary: by id, and by the name that the file gives them.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace alia {

// Keyed with process_key().
uint64_t hash_bytes(std::string_view bytes);

class Vocabulary {
  public:
    // All sizes are those of the file, checked by the caller. Ids without a token have no name.
    void resize(size_t tokens);
    // False where another token has that name or the id is taken.
    bool set(int32_t id, std::string_view name);
    void set_bytes(int32_t id, std::string_view bytes);  // what it adds to a text; the name itself until said otherwise
    void set_special(int32_t id) { tokens[size_t(id)].special = true; }
    void set_byte(int32_t id, uint8_t byte);  // a byte-fallback token ("<0x0A>")

    int32_t size() const { return int32_t(tokens.size()); }
    bool exists(int32_t id) const { return id >= 0 && id < size() && tokens[size_t(id)].name_length != 0; }
    std::string_view name(int32_t id) const {
        return exists(id) ? view(tokens[size_t(id)].name, tokens[size_t(id)].name_length) : std::string_view{};
    }
    std::string_view bytes(int32_t id) const {
        return exists(id) ? view(tokens[size_t(id)].bytes, tokens[size_t(id)].bytes_length) : std::string_view{};
    }
    bool special(int32_t id) const { return exists(id) && tokens[size_t(id)].special; }
    bool byte(int32_t id) const { return exists(id) && tokens[size_t(id)].byte; }
    std::optional<int32_t> find(std::string_view name) const;
    // Asks the processor for what is known of a token that is wanted soon, and, once that is there, for its bytes.
    void prefetch(int32_t id) const {
        if (id >= 0 && id < size()) __builtin_prefetch(tokens.data() + id);
    }
    void prefetch_bytes(int32_t id) const { __builtin_prefetch(bytes(id).data()); }

  private:
    struct Token {
        uint32_t name = 0, name_length = 0;  // into `blob`
        uint32_t bytes = 0, bytes_length = 0;
        bool special = false, byte = false;
    };
    std::string_view view(uint32_t at, uint32_t length) const { return {blob.data() + at, length}; }
    uint32_t append(std::string_view text);
    void grow_index(size_t slots);
    size_t slot(std::string_view name) const;  // where `name` is or would be

    std::string blob;
    std::vector<Token> tokens;
    std::vector<int32_t> index;  // open addressing over names; a power of two, at most half full; -1: free
};

}  // namespace alia

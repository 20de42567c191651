// Every cut of a tiny file of each kind, and every flipped bit of its header, is a typed error or a valid load. Run
// under the address and undefined behaviour sanitisers.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <new>
#include <unistd.h>

#include "tests/catch.h"
#include "tests/consume.h"
#include "tests/tiny_files.h"

using namespace alia;

namespace {
size_t allocated = 0;  // bytes asked for since it was last set to 0

void* counted(size_t size) {
    allocated += size;
    return std::malloc(size ? size : 1);
}
}  // namespace

void* operator new(size_t size) {
    if (void* p = counted(size)) return p;
    throw std::bad_alloc();
}
void* operator new[](size_t size) { return operator new(size); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void* operator new[](size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }

namespace {

struct Tally {
    int loads = 0, errors = 0;
};

// What `load` throws must be an Error that says something; what it allocates is bounded by the input's size.
bool attempt(size_t size, const std::function<void()>& load, Tally& tally) {
    bool loaded = false;
    size_t before = allocated = 0;
    try {
        load();
        loaded = true;
        ++tally.loads;
    } catch (const Error& e) {
        ++tally.errors;
        if (e.status == Status::ok || e.status == Status::internal || !e.message[0]) FAIL("an error without meaning");
    } catch (const std::exception& e) {
        FAIL("not an alia::Error: " << e.what());
    }
    if (allocated - before > 16 * size + (size_t(64) << 20)) FAIL("allocated " << allocated << " bytes");
    return loaded;
}

using Load = std::function<void(const std::string&)>;

// `flips` bytes at the start are damaged bit by bit.
Tally sweep(const std::string& file, size_t flips, const Load& load) {
    Tally tally;
    INFO("undamaged");
    REQUIRE_NOTHROW(load(file));
    for (size_t n = 0; n < file.size(); ++n) {
        INFO("cut at " << n);
        if (attempt(
                n, [&] { load(file.substr(0, n)); }, tally))
            FAIL("loads without its end");
    }
    for (size_t bit = 0; bit < 8 * flips; ++bit) {
        INFO("bit " << bit % 8 << " of byte " << bit / 8);
        std::string damaged = file;
        damaged[bit / 8] = char(damaged[bit / 8] ^ 1 << bit % 8);
        attempt(
            damaged.size(), [&] { load(damaged); }, tally);
    }
    return tally;
}

// On the heap, not mapped: the sanitiser sees the first byte that is read beyond the end.
std::shared_ptr<const File> heap_file(const std::string& bytes) {
    struct Copy {
        std::unique_ptr<std::byte[]> bytes;
        std::shared_ptr<const File> file;
    };
    auto copy = std::make_shared<Copy>();
    copy->bytes.reset(new std::byte[bytes.size()]);
    std::memcpy(copy->bytes.get(), bytes.data(), bytes.size());
    copy->file = File::from_memory("tiny", {copy->bytes.get(), bytes.size()});
    return {copy, copy->file.get()};
}

void use(const Checkpoint& checkpoint) {
    consume(checkpoint);
    consume(read_config(checkpoint));
}

struct TemporaryDirectory {
    std::string path;
    TemporaryDirectory() {
        std::string pattern = (std::filesystem::temp_directory_path() / "alia-hostile-XXXXXX").string();
        REQUIRE(mkdtemp(pattern.data()));
        path = pattern;
    }
    ~TemporaryDirectory() { std::filesystem::remove_all(path); }
    void write(const std::string& name, const std::string& bytes) const {
        std::ofstream(path + "/" + name, std::ios::binary) << bytes;
    }
};

}  // namespace

TEST_CASE("safetensors, damaged") {
    std::string file = tiny::safetensors();
    Tally tally = sweep(file, file.size() - 32, [](auto& bytes) { consume(read_safetensors({heap_file(bytes)})); });
    CHECK(tally.loads > 0);  // a tensor may be called anything
    CHECK(tally.errors > int(file.size()));
}

TEST_CASE("GGUF, damaged") {
    for (uint32_t version : {2, 3}) {
        auto g = tiny::gguf();
        g.version = version;
        Tally tally = sweep(g.file(), g.header().size(), [](auto& bytes) {
            Checkpoint checkpoint = read_gguf({heap_file(bytes)});
            consume(checkpoint);
            use(checkpoint);
        });
        CHECK(tally.loads > 0);
        CHECK(tally.errors > int(g.file().size()));
    }
}

TEST_CASE("the same files mapped from a directory, damaged") {
    TemporaryDirectory directory;
    auto g = tiny::gguf();
    Tally tally = sweep(g.file(), 64, [&](auto& bytes) {
        directory.write("tiny.gguf", bytes);
        use(open_checkpoint(directory.path));
    });
    CHECK(tally.errors > int(g.file().size()));
    std::filesystem::remove(directory.path + "/tiny.gguf");

    directory.write("config.json", tiny::config_json());
    tally = sweep(tiny::safetensors(), 64, [&](auto& bytes) {
        directory.write("model.safetensors", bytes);
        use(open_checkpoint(directory.path));
    });
    CHECK(tally.errors > int(tiny::safetensors().size()));
}

TEST_CASE("config.json, damaged") {
    TemporaryDirectory directory;
    directory.write("model.safetensors", tiny::safetensors());
    std::string file = tiny::config_json();
    Tally tally = sweep(file, file.size(), [&](auto& bytes) {
        directory.write("config.json", bytes);
        use(open_checkpoint(directory.path));
    });
    CHECK(tally.loads > 0);
    CHECK(tally.errors > int(file.size()));
}

TEST_CASE("an index and its shards, damaged") {
    TemporaryDirectory directory;
    directory.write("config.json", tiny::config_json());
    const std::pair<std::string, std::string> files[] = {{"model.safetensors.index.json", tiny::shard_index()},
                                                         {tiny::shard_name(1), tiny::shard(1)},
                                                         {tiny::shard_name(2), tiny::shard(2)}};
    for (auto& [name, bytes] : files) directory.write(name, bytes);
    for (auto& [name, bytes] : files) {
        INFO(name);
        Tally tally = sweep(bytes, bytes.size(), [&, &name = name](auto& damaged) {
            directory.write(name, damaged);
            use(open_checkpoint(directory.path));
        });
        CHECK(tally.errors > int(bytes.size()));
        directory.write(name, bytes);
    }
}

TEST_CASE("numbers that announce more than there is") {
    Tally tally;
    for (uint64_t count : {uint64_t(1) << 20, uint64_t(1) << 31, uint64_t(1) << 40, uint64_t(1) << 63, UINT64_MAX}) {
        std::string number = tiny::bytes_of(count), three = "GGUF" + tiny::bytes_of(uint32_t(3)), zero(8, '\0');
        const std::string files[] = {number + "{}",                                  // header length
                                     three + number + zero,                          // tensors
                                     three + zero + number,                          // keys
                                     three + zero + "\1" + zero.substr(1) + number,  // a key's length
                                     three + zero + "\1" + zero.substr(1) + tiny::Gguf::text("k") +
                                         tiny::bytes_of(uint32_t(8)) + number,  // a string's
                                     three + zero + "\1" + zero.substr(1) + tiny::Gguf::text("k") +
                                         tiny::bytes_of(uint32_t(9)) + tiny::bytes_of(uint32_t(0)) +
                                         number};  // an array's
        for (auto& bytes : files)
            attempt(
                bytes.size(),
                [&] { bytes[0] == 'G' ? read_gguf({heap_file(bytes)}) : read_safetensors({heap_file(bytes)}); }, tally);
    }
    CHECK(tally.loads == 0);
    CHECK(tally.errors == 30);
}

TEST_CASE("metadata whose tree would outgrow the file") {
    // An array of single bytes becomes a value of 32 bytes each.
    tiny::Gguf g;
    uint64_t count = uint64_t(8) << 20;
    g.key("bytes",
          tiny::bytes_of(uint32_t(9)) + tiny::bytes_of(uint32_t(0)) + tiny::bytes_of(count) + std::string(count, '\1'));
    std::string file = g.file();
    auto mapped = File::from_memory("tiny", std::as_bytes(std::span(file)));
    allocated = 0;
    CHECK_THROWS_AS(read_gguf({mapped}), Error);
    CHECK(allocated < file.size() + (size_t(64) << 20));
}

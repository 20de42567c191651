// How blocks of each format are drawn, found by decoding one.
#include "kernels/draw.h"

#include <cmath>

namespace alia {
namespace {

// A block's reader that notes where scales lie, and takes them as one.
struct Noting : One {
    DrawnBlock& found;

    float note(int at, DrawnBlock::Wide wide) const {
        found.at[found.wides] = at;
        found.wide[found.wides++] = wide;
        return 1;
    }
    float half(int i) const { return note(i, DrawnBlock::Wide::half); }
    float brain(int i) const { return note(i, DrawnBlock::Wide::brain); }
    float single(int i) const { return note(i, DrawnBlock::Wide::single); }
    float fp8(int i) const {
        if (i < found.e4m3) found.e4m3 = i;
        return One::fp8(i);
    }
};

template <class F>
DrawnBlock drawn() {
    uint8_t bytes[F::bytes] = {};
    DrawnBlock b{.bytes = F::bytes, .e4m3 = F::bytes};
    F::decode(Noting{{bytes}, b}, [](int, float) {});  // where they lie; what they are follows
    double squares = 0;
    constexpr int blocks = 64;
    for (int i = 0; i < blocks; ++i) {
        DrawnBlock again = b;
        again.wides = 0;
        draw_block(again, 1, uint64_t(i), bytes);
        F::decode(Noting{{bytes}, again}, [&](int, float x) { squares += double(x) * double(x); });
    }
    b.size = float(0.02 / std::sqrt(squares / (blocks * F::n)));
    return b;
}

template <class... F>
DrawnBlock drawn_of(List<F...>, Format f) {
    static constexpr DrawnBlock (*table[])() = {&drawn<F>...};
    return table[int(f)]();
}

}  // namespace

DrawnBlock drawn_block(Format f) { return drawn_of(Formats{}, f); }

}  // namespace alia

// The scale and offset with which whole numbers q come closest to a group of floats: x = scale q + offset.
#pragma once
#include <span>

namespace alia {

struct Line {
    float scale = 0, offset = 0;
};

// A group's numbers and how much each counts, nowhere less than 0. At most 256 of them.
struct Group {
    std::span<const float> x, weight;
};

// q in [low, high], offset 0. The scale may be negative, since a range may reach further on one side.
float fit_scale(Group, int low, int high);

enum class Offset { any, not_positive };
// q in [0, high]; the scale is not negative.
Line fit_line(Group, int high, Offset);

// The weighted sum of squared errors of each line with the best q for it.
void fit_errors(Group, int low, int high, std::span<const Line> lines, std::span<float> errors);

// The q that is nearest to x on a line.
int nearest(float x, Line, int low, int high);

}  // namespace alia

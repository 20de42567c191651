// One level of a rendering's walk.
#pragma once
#include "engine/template_render.h"

namespace alia::jinja {

// While it lives the renderer is one level deeper and errors are about this node.
struct Renderer::Level {
    Level(Renderer& renderer, const Node& node) : renderer(renderer), before(renderer.at) {
        renderer.at = &node;
        renderer.heap.spend(1);
        if (++renderer.depth > renderer.heap.limits.depth)
            renderer.fail(Status::limit, "rendering goes more than %d levels deep", renderer.heap.limits.depth);
    }
    ~Level() {
        --renderer.depth;
        renderer.at = before;
    }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

    Renderer& renderer;
    const Node* before;
};

}  // namespace alia::jinja

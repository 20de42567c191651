/* embed MODEL TEXT OTHER...: prints how near in meaning each other text is to the first: the cosine of the angle
 * between their embeddings, the mean of the model's last hidden states. */
#include <alia.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(void) {
    fprintf(stderr, "embed: %s\n", alia_error_message());
    return 0;
}

/* An embedding of length 1, [*columns], which the caller frees; NULL after a failure. */
static float* embed(alia_model* model, alia_engine* engine, const char* text, int64_t* columns) {
    alia_text_part part = ALIA_TEXT_PART_INIT;
    part.text = text;
    part.length = strlen(text);
    int32_t* ids;
    uint64_t count, request;
    if (alia_model_encode(model, &part, 1, ALIA_ENCODE_ADD_SPECIAL, &ids, &count)) return failed(), NULL;
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
    options.max_tokens = 0;
    options.pooling = ALIA_POOLING_MEAN;
    options.flags = ALIA_REQUEST_NORMALISE;
    const alia_status status = alia_engine_submit(engine, ids, count, &options, &request);
    alia_ids_free(ids);
    if (status) return failed(), NULL;

    float* embedding = NULL;
    for (;;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t n;
        if (alia_engine_step(engine, &event, 1, &n)) {
            free(embedding);
            return failed(), NULL;
        }
        if (n && event.kind == ALIA_EVENT_EMBEDDING) {
            *columns = event.columns;
            embedding = malloc((size_t)event.columns * sizeof *embedding);
            if (embedding) memcpy(embedding, event.values, (size_t)event.columns * sizeof *embedding);
        }
        if (n && event.kind == ALIA_EVENT_FINISHED) {
            if (!embedding) fprintf(stderr, "embed: %.*s\n", (int)event.message_length, event.message);
            return embedding;
        }
    }
}

int main(int argc, char** argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: embed MODEL TEXT OTHER...\n");
        return 2;
    }
    const char* path = argv[1];
    alia_model* model = NULL;
    alia_engine* engine = NULL;
    int64_t columns = 0;
    int good =
        !alia_check() && !alia_model_open(path, strlen(path), NULL, &model) && !alia_engine_open(model, NULL, &engine);
    if (!good) failed();
    float* first = good ? embed(model, engine, argv[2], &columns) : NULL;
    good = first != NULL;
    for (int i = 3; good && i < argc; ++i) {
        float* other = embed(model, engine, argv[i], &columns);
        double cosine = 0;
        for (int64_t c = 0; other && c < columns; ++c) cosine += (double)first[c] * other[c];
        if (other) printf("%.4f %s\n", cosine, argv[i]);
        good = other != NULL;
        free(other);
    }
    free(first);
    alia_engine_free(engine);
    alia_model_free(model);
    return good ? 0 : 1;
}

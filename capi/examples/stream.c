/* stream MODEL TEXT: prints how the model continues a text, as it comes; then, on standard error, why it ended. */
#include <alia.h>
#include <stdio.h>
#include <string.h>

static int failed(void) {
    fprintf(stderr, "stream: %s\n", alia_error_message());
    return 0;
}

static const char* reason(int32_t finish) {
    switch (finish) {
        case ALIA_FINISH_STOP:
            return "stop";
        case ALIA_FINISH_LENGTH:
            return "length";
        case ALIA_FINISH_CONTEXT:
            return "context";
        default:
            return "other";
    }
}

static int submit(alia_model* model, alia_engine* engine, const char* text, uint64_t* request) {
    alia_text_part part = ALIA_TEXT_PART_INIT;
    part.text = text;
    part.length = strlen(text);
    int32_t* ids;
    uint64_t count;
    if (alia_model_encode(model, &part, 1, ALIA_ENCODE_ADD_SPECIAL, &ids, &count)) return failed();
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
    options.max_tokens = 32;
    const alia_status status = alia_engine_submit(engine, ids, count, &options, request);
    alia_ids_free(ids);
    return status ? failed() : 1;
}

/* What an event lends lasts until the next step: it is printed at once. */
static int print(alia_engine* engine) {
    for (;;) {
        alia_event events[4] = {ALIA_EVENT_INIT, ALIA_EVENT_INIT, ALIA_EVENT_INIT, ALIA_EVENT_INIT};
        uint32_t count;
        if (alia_engine_step(engine, events, 4, &count)) return failed();
        for (uint32_t i = 0; i < count; ++i) {
            const alia_event* e = &events[i];
            fwrite(e->text, 1, e->text_length, stdout);
            fflush(stdout);
            if (e->kind != ALIA_EVENT_FINISHED) continue;
            putchar('\n');
            if (e->finish == ALIA_FINISH_ERROR) {
                fprintf(stderr, "stream: %.*s\n", (int)e->message_length, e->message);
                return 0;
            }
            fprintf(stderr, "%lld tokens after %lld, ended by %s\n", (long long)e->generated_tokens,
                    (long long)e->prompt_tokens, reason(e->finish));
            return 1;
        }
    }
}

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: stream MODEL TEXT\n");
        return 2;
    }
    const char* path = argv[1];
    alia_model* model = NULL;
    alia_engine* engine = NULL;
    uint64_t request;
    int good =
        !alia_check() && !alia_model_open(path, strlen(path), NULL, &model) && !alia_engine_open(model, NULL, &engine);
    if (!good) failed();
    good = good && submit(model, engine, argv[2], &request) && print(engine);
    alia_engine_free(engine);
    alia_model_free(model);
    return good ? 0 : 1;
}

/* ask MODEL TEXT: prints how the model continues a text, once it is whole. */
#include <alia.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Says what the last call failed of. */
static int failed(void) {
    fprintf(stderr, "ask: %s\n", alia_error_message());
    return 0;
}

static int open_model(const char* path, alia_model** model, alia_engine** engine) {
    if (alia_check() || alia_model_open(path, strlen(path), NULL, model)) return failed();
    return alia_engine_open(*model, NULL, engine) ? failed() : 1;
}

/* The text is a user's: no byte of it becomes a special token. */
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

/* Steps until the request is finished and collects its text, which the caller frees. */
static int collect(alia_engine* engine, char** text, size_t* length) {
    for (;;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count;
        if (alia_engine_step(engine, &event, 1, &count)) return failed();
        if (count == 0) continue; /* in the middle of the prompt */
        if (event.finish == ALIA_FINISH_ERROR) {
            fprintf(stderr, "ask: %.*s\n", (int)event.message_length, event.message);
            return 0;
        }
        char* longer = realloc(*text, *length + event.text_length + 1);
        if (!longer) {
            fprintf(stderr, "ask: out of memory\n");
            return 0;
        }
        *text = longer;
        if (event.text_length) memcpy(longer + *length, event.text, event.text_length);
        *length += event.text_length;
        if (event.kind == ALIA_EVENT_FINISHED) return 1;
    }
}

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: ask MODEL TEXT\n");
        return 2;
    }
    alia_model* model = NULL;
    alia_engine* engine = NULL;
    uint64_t request;
    char* text = NULL;
    size_t length = 0;
    const int good = open_model(argv[1], &model, &engine) && submit(model, engine, argv[2], &request) &&
                     collect(engine, &text, &length);
    if (good) {
        fwrite(text, 1, length, stdout);
        putchar('\n');
    }
    free(text);
    alia_engine_free(engine);
    alia_model_free(model);
    return good ? 0 : 1;
}

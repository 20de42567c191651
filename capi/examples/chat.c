/* chat MODEL MESSAGES: prints what the model answers to a conversation: JSON, such as
 * [{"role": "user", "content": "Who are you?"}]. */
#include <alia.h>
#include <stdio.h>
#include <string.h>

/* Says what the last call failed of. */
static int failed(void) {
    fprintf(stderr, "chat: %s\n", alia_error_message());
    return 0;
}

static int open_model(const char* path, alia_model** model, alia_engine** engine) {
    if (alia_check() || alia_model_open(path, strlen(path), NULL, model)) return failed();
    return alia_engine_open(*model, NULL, engine) ? failed() : 1;
}

/* The checkpoint's chat template writes the conversation, and says what ends an answer. */
static int submit(alia_model* model, alia_engine* engine, const char* messages, uint64_t* request) {
    int32_t* ids = NULL;
    int32_t* stops = NULL;
    uint64_t count, stop_count;
    int good = !alia_chat_encode(model, messages, strlen(messages), NULL, &ids, &count) &&
               !alia_chat_stops(model, &stops, &stop_count);
    if (good) {
        alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
        options.max_tokens = 200;
        options.stop = stops;
        options.stop_count = (uint32_t)stop_count;
        good = !alia_engine_submit(engine, ids, count, &options, request);
    }
    if (!good) failed();
    alia_ids_free(ids);
    alia_ids_free(stops);
    return good;
}

static int print(alia_engine* engine) {
    for (;;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count;
        if (alia_engine_step(engine, &event, 1, &count)) return failed();
        if (count == 0) continue; /* in the middle of the prompt */
        fwrite(event.text, 1, event.text_length, stdout);
        fflush(stdout);
        if (event.kind != ALIA_EVENT_FINISHED) continue;
        putchar('\n');
        if (event.finish != ALIA_FINISH_ERROR) return 1;
        fprintf(stderr, "chat: %.*s\n", (int)event.message_length, event.message);
        return 0;
    }
}

int main(int argc, char** argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: chat MODEL MESSAGES\n");
        return 2;
    }
    alia_model* model = NULL;
    alia_engine* engine = NULL;
    uint64_t request;
    const int good = open_model(argv[1], &model, &engine) && submit(model, engine, argv[2], &request) && print(engine);
    alia_engine_free(engine);
    alia_model_free(model);
    return good ? 0 : 1;
}

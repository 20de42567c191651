/* sessions MODEL FILE TEXT...: a conversation that outlives the program. Each text goes behind what was said before,
 * the model continues it, and FILE keeps all of it for the next run; without FILE a new conversation begins. */
#include <alia.h>
#include <stdio.h>
#include <string.h>

static int failed(void) {
    fprintf(stderr, "sessions: %s\n", alia_error_message());
    return 0;
}

static int restore(alia_engine* engine, const char* file, uint64_t* sequence) {
    const alia_status status = alia_sequence_restore_file(engine, file, strlen(file), sequence);
    if (status == ALIA_NOT_FOUND) return alia_sequence_new(engine, sequence) ? failed() : 1;
    return status ? failed() : 1;
}

/* A request that names a sequence continues it: only the new tokens are given, and only they are processed. */
static int submit(alia_model* model, alia_engine* engine, uint64_t sequence, const char* text, uint64_t* request) {
    alia_text_part part = ALIA_TEXT_PART_INIT;
    part.text = text;
    part.length = strlen(text);
    int32_t* ids;
    uint64_t said, count;
    if (alia_sequence_tokens(engine, sequence, &ids, &said)) return failed();
    alia_ids_free(ids);
    if (alia_model_encode(model, &part, 1, said ? 0 : ALIA_ENCODE_ADD_SPECIAL, &ids, &count)) return failed();
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
    options.max_tokens = 16;
    options.sequence = sequence;
    const alia_status status = alia_engine_submit(engine, ids, count, &options, request);
    alia_ids_free(ids);
    return status ? failed() : 1;
}

static int print(alia_engine* engine) {
    for (;;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count;
        if (alia_engine_step(engine, &event, 1, &count)) return failed();
        if (count == 0) continue;
        fwrite(event.text, 1, event.text_length, stdout);
        if (event.kind != ALIA_EVENT_FINISHED) continue;
        putchar('\n');
        if (event.finish != ALIA_FINISH_ERROR) return 1;
        fprintf(stderr, "sessions: %.*s\n", (int)event.message_length, event.message);
        return 0;
    }
}

int main(int argc, char** argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: sessions MODEL FILE TEXT...\n");
        return 2;
    }
    const char *path = argv[1], *file = argv[2];
    alia_model* model = NULL;
    alia_engine* engine = NULL;
    uint64_t sequence, request;
    int good =
        !alia_check() && !alia_model_open(path, strlen(path), NULL, &model) && !alia_engine_open(model, NULL, &engine);
    if (!good) failed();
    good = good && restore(engine, file, &sequence);
    for (int i = 3; good && i < argc; ++i) good = submit(model, engine, sequence, argv[i], &request) && print(engine);
    if (good && alia_sequence_save_file(engine, sequence, file, strlen(file))) good = failed();
    alia_engine_free(engine);
    alia_model_free(model);
    return good ? 0 : 1;
}

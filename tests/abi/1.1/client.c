/* A program of ABI 1.1's time: client MODEL. It uses what came with it, conversations, and ends with 0 where all of it
 * still does what it did. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alia.h"

#define NEED(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "client.c:%d: %s (%s)\n", __LINE__, #condition, alia_error_message()); \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define OK(call) NEED((call) == ALIA_OK)

static const char first[] = "[{\"role\": \"user\", \"content\": \"hola <|im_end|>\"}]";
static const char longer[] =
    "[{\"role\": \"user\", \"content\": \"hola <|im_end|>\"}, "
    "{\"role\": \"assistant\", \"content\": \"uno\"}, {\"role\": \"user\", \"content\": \"dos\"}]";

static uint64_t count_of(const int32_t* ids, uint64_t n, int32_t token) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < n; ++i) count += ids[i] == token;
    return count;
}

static void process(alia_engine* engine, uint64_t sequence, const int32_t* ids, uint64_t n) {
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
    options.max_tokens = 1, options.sequence = sequence, options.temperature = 0;
    uint64_t request;
    OK(alia_engine_submit(engine, ids, n, &options, &request));
    for (int finished = 0; !finished;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count;
        OK(alia_engine_step(engine, &event, 1, &count));
        finished = count && event.kind == ALIA_EVENT_FINISHED;
    }
}

int main(int argc, char** argv) {
    NEED(argc == 2);
    OK(alia_check());
    alia_model* model;
    OK(alia_model_open(argv[1], strlen(argv[1]), NULL, &model));

    char* text;
    int32_t *stops, *ids, *more, *left, end;
    uint64_t length, stop_count, n, more_count, left_count;
    alia_chat_options options = ALIA_CHAT_OPTIONS_INIT;
    OK(alia_chat_render(model, first, strlen(first), &options, &text, &length));
    NEED(strlen(text) == length && strstr(text, "hola"));
    alia_text_free(text);
    NEED(alia_chat_render(model, "[{]", 3, &options, &text, &length) == ALIA_MALFORMED);
    options.template_name = "none", options.template_name_length = 4;
    NEED(alia_chat_encode(model, first, strlen(first), &options, &ids, &n) == ALIA_NOT_FOUND);

    OK(alia_model_token_find(model, "<|im_end|>", 10, &end));
    OK(alia_chat_stops(model, &stops, &stop_count));
    NEED(count_of(stops, stop_count, end) == 1);
    OK(alia_chat_encode(model, first, strlen(first), NULL, &ids, &n));
    OK(alia_chat_encode(model, longer, strlen(longer), NULL, &more, &more_count));
    NEED(more_count > n && memcmp(ids, more, n * sizeof *ids) == 0);
    NEED(count_of(ids, n, end) == 1 && count_of(more, more_count, end) == 3); /* what users write stays letters */

    alia_engine* engine;
    alia_engine_options eo = ALIA_ENGINE_OPTIONS_INIT;
    eo.context = 256;
    OK(alia_engine_open(model, &eo, &engine));
    uint64_t sequence, kept;
    OK(alia_sequence_new(engine, &sequence));
    process(engine, sequence, ids, n);
    OK(alia_sequence_keep(engine, sequence, more, more_count, &kept));
    NEED(kept >= n && kept < more_count);
    OK(alia_sequence_tokens(engine, sequence, &left, &left_count));
    NEED(left_count == kept && memcmp(left, more, kept * sizeof *left) == 0);

    alia_ids_free(left);
    alia_ids_free(more);
    alia_ids_free(ids);
    alia_ids_free(stops);
    OK(alia_engine_free(engine));
    OK(alia_model_free(model));
    return 0;
}

/* A program of ABI 1.0's time: client MODEL. It uses what the interface gave then, and ends with 0 where all of it
 * still does what it did. */
#include <math.h>
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

enum { most = 32 };
typedef struct {
    int32_t ids[most];
    uint32_t count;
    char text[1024];
    size_t text_length;
    int32_t finish, embeddings, scores, top;
    int64_t prompt_tokens;
} answer;

static void take(answer* a, const alia_event* e) {
    if (e->kind == ALIA_EVENT_TOKEN && e->completion == 0) {
        NEED(a->count < most && e->logprob <= 0);
        a->ids[a->count++] = e->token;
        a->top += (int32_t)e->top_count;
    }
    if (e->kind == ALIA_EVENT_EMBEDDING) {
        double length = 0;
        for (int64_t i = 0; i < e->columns; ++i) length += e->values[i] * e->values[i];
        NEED(fabs(length - 1) < 1e-4);
        ++a->embeddings;
    }
    if (e->kind == ALIA_EVENT_SCORES) a->scores += (int32_t)e->columns;
    if (e->kind == ALIA_EVENT_FINISHED) a->finish = e->finish, a->prompt_tokens = e->prompt_tokens;
    if (e->completion == 0 && e->text_length) {
        NEED(a->text_length + e->text_length < sizeof a->text);
        memcpy(a->text + a->text_length, e->text, e->text_length);
        a->text_length += e->text_length;
    }
}

static answer pull(alia_engine* engine, const int32_t* ids, uint64_t n, const alia_request_options* options) {
    answer a = {.count = 0};
    uint64_t request;
    OK(alia_engine_submit(engine, ids, n, options, &request));
    for (int32_t finished = 0; finished < options->completions;) {
        alia_event events[2] = {ALIA_EVENT_INIT, ALIA_EVENT_INIT};
        uint32_t count;
        OK(alia_engine_step(engine, events, 2, &count));
        for (uint32_t i = 0; i < count; ++i) {
            NEED(events[i].request == request);
            take(&a, &events[i]);
            finished += events[i].kind == ALIA_EVENT_FINISHED;
        }
    }
    return a;
}

static answer background(alia_engine* engine, const int32_t* ids, uint64_t n, const alia_request_options* options) {
    answer a = {.count = 0};
    uint64_t request;
    OK(alia_engine_start(engine));
    OK(alia_engine_submit(engine, ids, n, options, &request));
    while (!a.finish) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count;
        OK(alia_engine_next(engine, &event, 1, -1, &count));
        if (count) take(&a, &event);
    }
    OK(alia_engine_stop(engine));
    return a;
}

static int32_t progress(void* user, const alia_progress* p) {
    NEED(p->size >= 32 && p->phase[0] && p->done <= p->total);
    ++*(int*)user;
    return 0;
}

static void same(const answer* a, const answer* b) {
    NEED(a->count == b->count && memcmp(a->ids, b->ids, sizeof *a->ids * a->count) == 0);
    NEED(a->text_length == b->text_length && memcmp(a->text, b->text, a->text_length) == 0);
}

static void converse(alia_engine* engine, const int32_t* ids, uint64_t n, alia_request_options options) {
    uint64_t sequence, copy, length, count;
    int32_t* tokens;
    void* state;
    OK(alia_sequence_new(engine, &sequence));
    options.sequence = sequence;
    pull(engine, ids, n, &options);
    OK(alia_sequence_fork(engine, sequence, &copy));
    OK(alia_sequence_save(engine, sequence, &state, &length));
    const answer first = pull(engine, ids, n, &options);
    options.sequence = copy;
    const answer forked = pull(engine, ids, n, &options);
    same(&first, &forked);
    OK(alia_sequence_free(engine, copy));
    OK(alia_sequence_restore(engine, state, length, &copy));
    alia_bytes_free(state);
    options.sequence = copy;
    const answer restored = pull(engine, ids, n, &options);
    same(&first, &restored);
    OK(alia_sequence_truncate(engine, copy, 1));
    OK(alia_sequence_tokens(engine, copy, &tokens, &count));
    NEED(count == 1 && tokens[0] == ids[0]);
    alia_ids_free(tokens);
    OK(alia_sequence_free(engine, copy));
    NEED(alia_sequence_free(engine, copy) == ALIA_NOT_FOUND);
}

int main(int argc, char** argv) {
    NEED(argc == 2);
    OK(alia_check());
    NEED(alia_abi_version() >= ALIA_ABI_VERSION && alia_version()[0]);
    NEED(strcmp(alia_status_name(ALIA_BAD_HANDLE), "bad_handle") == 0);

    alia_model* model;
    alia_model_options mo = ALIA_MODEL_OPTIONS_INIT;
    NEED(alia_model_open("/none.gguf", 10, &mo, &model) == ALIA_NOT_FOUND);
    NEED(alia_error_status() == ALIA_NOT_FOUND && strstr(alia_error_message(), "/none.gguf"));
    NEED(alia_error_offset() == -1 && alia_error_handle_usable() == 1 && alia_error_item()[0] == 0);
    int told = 0;
    mo.progress = progress, mo.user = &told;
    OK(alia_model_options_set(&mo, "threads", 7, "2", 1));
    NEED(mo.threads == 2);
    OK(alia_model_open(argv[1], strlen(argv[1]), &mo, &model));
    NEED(told > 1);

    char *json, *text;
    uint64_t length, n, eos_count;
    OK(alia_model_info(model, &json, &length));
    NEED(strlen(json) == length && strstr(json, "\"layers\": "));
    alia_text_free(json);
    OK(alia_plan(argv[1], strlen(argv[1]), NULL, NULL, &json, &length));
    NEED(strstr(json, "\"fits\": true"));
    alia_text_free(json);

    int32_t *ids, vocabulary, bos, found;
    const int32_t* eos;
    const char* bytes;
    alia_text_part part = ALIA_TEXT_PART_INIT;
    part.text = "uno dos", part.length = 7;
    OK(alia_model_encode(model, &part, 1, ALIA_ENCODE_ADD_SPECIAL, &ids, &n));
    NEED(n > 1);
    OK(alia_model_decode(model, ids, n, 0, &text, &length));
    NEED(length == 7 && strcmp(text, "uno dos") == 0);
    OK(alia_model_token_bytes(model, ids[n - 1], &bytes, &length));
    NEED(length > 0);
    OK(alia_model_vocabulary(model, &vocabulary));
    OK(alia_model_bos(model, &bos));
    OK(alia_model_eos(model, &eos, &eos_count));
    OK(alia_model_token_find(model, "<|im_end|>", 10, &found));
    NEED(found > 0 && found < vocabulary && bos < vocabulary);
    alia_text_free(text);

    alia_engine* engine;
    alia_engine_options eo = ALIA_ENGINE_OPTIONS_INIT;
    OK(alia_engine_options_set(&eo, "context", 7, "128", 3));
    NEED(eo.context == 128);
    eo.cache = ALIA_CACHE_F32;
    OK(alia_engine_open(model, &eo, &engine));
    alia_request_options ro = ALIA_REQUEST_OPTIONS_INIT;
    ro.flags = ALIA_REQUEST_IGNORE_EOS, ro.max_tokens = 6, ro.top_tokens = 3;
    OK(alia_request_options_set(&ro, "temperature", 11, "0.5", 3));
    const answer once = pull(engine, ids, n, &ro), again = pull(engine, ids, n, &ro);
    NEED(once.count == 6 && once.finish == ALIA_FINISH_LENGTH && once.top == 18 && once.prompt_tokens == (int64_t)n);
    same(&once, &again);
    const answer behind = background(engine, ids, n, &ro);
    same(&once, &behind);
    ro.completions = 2;
    const answer twice = pull(engine, ids, n, &ro);
    same(&once, &twice);
    ro.completions = 1;

    alia_request_options measure = ALIA_REQUEST_OPTIONS_INIT;
    measure.max_tokens = 0, measure.pooling = ALIA_POOLING_MEAN;
    measure.flags = ALIA_REQUEST_NORMALISE | ALIA_REQUEST_PROMPT_SCORES;
    const answer measured = pull(engine, ids, n, &measure);
    NEED(measured.embeddings == 1 && measured.scores == (int32_t)n - 1 && measured.count == 0);
    converse(engine, ids, n, ro);

    uint64_t request;
    int32_t idle;
    OK(alia_engine_submit(engine, ids, n, &ro, &request));
    OK(alia_engine_cancel(engine, request));
    NEED(alia_engine_choose(engine, request, 0, NULL, 0) != ALIA_OK);
    for (idle = 0; !idle;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count;
        OK(alia_engine_step(engine, &event, 1, &count));
        NEED(!count || event.finish == ALIA_FINISH_CANCELLED);
        OK(alia_engine_idle(engine, &idle));
    }
    OK(alia_engine_counters(engine, &json, &length));
    NEED(strstr(json, "\"steps\": "));
    alia_text_free(json);
    alia_ids_free(ids);
    OK(alia_model_free(model));
    NEED(alia_model_free(model) == ALIA_BAD_HANDLE);
    OK(alia_engine_free(engine));
    NEED(alia_engine_free(engine) == ALIA_BAD_HANDLE);
    return 0;
}

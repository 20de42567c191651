/* Many requests through the C interface: completions, log-probabilities, stop texts, embeddings, scores, choices,
 * resident sequences and their saved state, background mode, limits of what waits, ends of turns, models from memory
 * and readers, options by name.
 * Usage: capi_many MODEL. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "tests/capi.h"
#include "tests/tiny_tokenizer.h"

enum { most = 64 };
typedef struct {
    int32_t tokens[8][most];
    int count[8], finished, finish[8], scores, embeddings;
    float logprob[most], score_sum, embedding_length;
    char text[512];
    size_t text_length;
    int64_t cached;
} answers;

static void take(answers* a, const alia_event* e) {
    const int c = e->completion;
    switch (e->kind) {
        case ALIA_EVENT_TOKEN:
            if (a->count[c] < most) a->tokens[c][a->count[c]++] = e->token;
            if (c == 0) a->logprob[a->count[0] - 1] = e->logprob;
            for (uint32_t i = 0; i + 1 < e->top_count; ++i) CHECK(e->top[i].logprob >= e->top[i + 1].logprob);
            break;
        case ALIA_EVENT_FINISHED:
            a->finish[c] = e->finish, a->cached = e->cached_tokens, ++a->finished;
            break;
        case ALIA_EVENT_SCORES:
            CHECK(e->rows == 1);
            for (int64_t i = 0; i < e->columns; ++i) ++a->scores, a->score_sum += e->values[i];
            break;
        case ALIA_EVENT_EMBEDDING:
            ++a->embeddings;
            for (int64_t i = 0; i < e->columns; ++i) a->embedding_length += e->values[i] * e->values[i];
            break;
        default:
            CHECK(0);
    }
    if (e->text_length && a->text_length + e->text_length < sizeof a->text) {
        memcpy(a->text + a->text_length, e->text, e->text_length);
        a->text_length += e->text_length;
    }
}

static answers run(alia_engine* engine, const alia_request_options* o, const int32_t* ids, uint64_t n) {
    answers a = {.finished = 0};
    uint64_t request;
    CHECK(alia_engine_submit(engine, ids, n, o, &request) == ALIA_OK);
    while (a.finished < (o ? o->completions : 1) && !failures) {
        alia_event events[4] = {ALIA_EVENT_INIT, ALIA_EVENT_INIT, ALIA_EVENT_INIT, ALIA_EVENT_INIT};
        uint32_t count = 0;
        CHECK(alia_engine_step(engine, events, 4, &count) == ALIA_OK);
        for (uint32_t i = 0; i < count; ++i) take(&a, &events[i]);
    }
    return a;
}

static alia_request_options plain(int64_t tokens) {
    alia_request_options o = ALIA_REQUEST_OPTIONS_INIT;
    o.max_tokens = tokens, o.temperature = 0, o.flags = ALIA_REQUEST_IGNORE_EOS;
    return o;
}

static void test_requests(alia_model* model) {
    alia_engine* engine = open_engine(model, 8);
    alia_request_options o = plain(6);
    const answers alone = run(engine, &o, prompt, prompt_count);

    o.completions = 3, o.temperature = 1, o.top_tokens = 5, o.seed = 11;
    answers several = run(engine, &o, prompt, prompt_count);
    CHECK(several.finished == 3 && several.count[0] == 6 && several.count[2] == 6);
    CHECK(memcmp(several.tokens[0], several.tokens[1], sizeof several.tokens[0]) != 0);
    CHECK(several.logprob[0] < 0 && isfinite(several.logprob[0]));
    o = plain(6), o.temperature = 1, o.seed = 12;
    CHECK(memcmp(run(engine, &o, prompt, prompt_count).tokens[0], several.tokens[1], sizeof several.tokens[0]) == 0);

    o = plain(0), o.flags |= ALIA_REQUEST_PROMPT_SCORES;
    answers scores = run(engine, &o, prompt, prompt_count);
    CHECK(scores.scores == prompt_count - 1 && scores.score_sum < 0);
    o = plain(0), o.pooling = ALIA_POOLING_MEAN, o.flags |= ALIA_REQUEST_NORMALISE;
    answers embedding = run(engine, &o, prompt, prompt_count);
    CHECK(embedding.embeddings == 1 && fabsf(embedding.embedding_length - 1) < 1e-4f);

    o = plain(20), o.deadline = 0;
    CHECK(run(engine, &o, prompt, prompt_count).finish[0] == ALIA_FINISH_DEADLINE);
    o = plain(200), o.context_first = 4, o.context_last = 20;
    CHECK(run(engine, &o, prompt, prompt_count).finish[0] == ALIA_FINISH_LENGTH);
    o = plain(6), o.context_last = 64;
    uint64_t request;
    /* Where min_tokens forbids them, too. */
    const int32_t beyond[] = {-1, 96, INT32_MAX, INT32_MIN};
    for (int i = 0; i < 4; ++i) {
        alia_request_options stops = plain(6);
        stops.stop = &beyond[i], stops.stop_count = 1, stops.min_tokens = 1;
        BAD(alia_engine_submit(engine, prompt, prompt_count, &stops, &request), "stop");
    }
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &o, &request) == ALIA_INVALID_ARGUMENT);

    /* The model's own logits, handed back, give the model's own tokens. */
    o = plain(6), o.flags |= ALIA_REQUEST_CHOOSE;
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &o, &request) == ALIA_OK);
    answers chosen = {.finished = 0};
    int choices = 0;
    while (chosen.finished == 0 && !failures) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count;
        CHECK(alia_engine_step(engine, &event, 1, &count) == ALIA_OK);
        if (count && event.kind == ALIA_EVENT_CHOICE) {
            int32_t idle = 0;
            ++choices;
            CHECK(alia_engine_idle(engine, &idle) == ALIA_OK && idle == 1);
            CHECK(alia_engine_choose(engine, request, 0, event.values, 3) == ALIA_INVALID_ARGUMENT);
            CHECK(alia_engine_choose(engine, request + 1, 0, event.values, 3) == ALIA_NOT_FOUND);
            CHECK(alia_engine_choose(engine, request, 0, event.values, (uint64_t)event.columns) == ALIA_OK);
        } else if (count) {
            take(&chosen, &event);
        }
    }
    CHECK(choices == 6 && memcmp(chosen.tokens[0], alone.tokens[0], sizeof alone.tokens[0]) == 0);

    char* json;
    uint64_t length;
    CHECK(alia_engine_counters(engine, &json, &length) == ALIA_OK && strstr(json, "\"generated_tokens\""));
    alia_text_free(json);
    CHECK(alia_engine_free(engine) == ALIA_OK);
}

static void test_sequences(alia_model* model) {
    alia_engine* engine = open_engine(model, 8);
    uint64_t a, b, c, n;
    int32_t* ids;
    CHECK(alia_sequence_new(engine, &a) == ALIA_OK);
    alia_request_options o = plain(5);
    o.sequence = a;
    const answers first = run(engine, &o, prompt, prompt_count);
    CHECK(alia_sequence_tokens(engine, a, &ids, &n) == ALIA_OK && n == prompt_count + 5);
    CHECK(memcmp(ids, prompt, sizeof prompt) == 0 && memcmp(ids + prompt_count, first.tokens[0], 5 * sizeof *ids) == 0);
    alia_ids_free(ids);

    CHECK(alia_sequence_fork(engine, a, &b) == ALIA_OK && b != a);
    const answers here = run(engine, &o, prompt, 3);
    o.sequence = b;
    CHECK(memcmp(run(engine, &o, prompt, 3).tokens[0], here.tokens[0], sizeof here.tokens[0]) == 0);
    CHECK(alia_sequence_truncate(engine, b, prompt_count + 5) == ALIA_OK);
    CHECK(alia_sequence_truncate(engine, b, 1000) == ALIA_INVALID_ARGUMENT);

    /* The start that a new prompt shares stays; the rest is forgotten. */
    int32_t other[8];
    uint64_t kept = 77;
    memcpy(other, prompt, 3 * sizeof *other);
    other[3] = prompt[3] + 1;
    CHECK(alia_sequence_fork(engine, a, &c) == ALIA_OK);
    CHECK(alia_sequence_keep(engine, c, other, 4, NULL) == ALIA_INVALID_ARGUMENT);
    CHECK(alia_sequence_keep(engine, c + 99, other, 4, &kept) == ALIA_NOT_FOUND && kept == 77);
    CHECK(alia_sequence_keep(engine, c, other, 4, &kept) == ALIA_OK && kept == 3);
    CHECK(alia_sequence_tokens(engine, c, &ids, &n) == ALIA_OK && n == 3);
    alia_ids_free(ids);
    CHECK(alia_sequence_keep(engine, c, other, 4, &kept) == ALIA_OK && kept == 3);
    CHECK(alia_sequence_keep(engine, c, NULL, 0, &kept) == ALIA_OK && kept == 0);
    CHECK(alia_sequence_free(engine, c) == ALIA_OK);

    void* state;
    CHECK(alia_sequence_save(engine, b, &state, &n) == ALIA_OK && n > 0);
    CHECK(alia_sequence_restore(engine, state, n, &c) == ALIA_OK);
    o.sequence = c;
    CHECK(memcmp(run(engine, &o, prompt, 3).tokens[0], here.tokens[0], sizeof here.tokens[0]) == 0);
    ((char*)state)[n / 2] ^= 1;
    CHECK(alia_sequence_restore(engine, state, n, &c) == ALIA_MALFORMED);
    CHECK(alia_sequence_restore(engine, state, n - 1, &c) != ALIA_OK);
    alia_bytes_free(state);

    char file[] = "/tmp/alia-state-XXXXXX";
    close(mkstemp(file));
    CHECK(alia_sequence_save_file(engine, b, file, strlen(file)) == ALIA_OK);
    CHECK(alia_sequence_restore_file(engine, file, strlen(file), &c) == ALIA_OK);
    CHECK(alia_sequence_restore_file(engine, "/none", 5, &c) == ALIA_NOT_FOUND);
    unlink(file);

    CHECK(alia_sequence_free(engine, a) == ALIA_OK && alia_sequence_free(engine, a) == ALIA_NOT_FOUND);
    o.sequence = a;
    CHECK(alia_engine_submit(engine, prompt, 1, &o, &n) == ALIA_NOT_FOUND);
    CHECK(alia_engine_free(engine) == ALIA_OK);
}

enum { clients = 6, each = 20 };
typedef struct {
    alia_engine* engine;
    uint64_t numbers[each];
    int first;
} client;

static void* submit_some(void* argument) {
    client* c = argument;
    for (int i = 0; i < each; ++i) {
        alia_request_options o = plain(1 + (c->first + i) % 7);
        CHECK(alia_engine_submit(c->engine, prompt, (uint64_t)(1 + (c->first + i) % prompt_count), &o,
                                 &c->numbers[i]) == ALIA_OK);
        if (i % 5 == 4) alia_engine_cancel(c->engine, c->numbers[i]);
    }
    return NULL;
}

static void test_background(alia_model* model) {
    alia_engine* engine = open_engine(model, 8);
    alia_event events[16];
    uint32_t count;
    for (int i = 0; i < 16; ++i) events[i] = (alia_event)ALIA_EVENT_INIT;
    FAILS(alia_engine_next(engine, events, 16, 0, &count), ALIA_BUSY, "engine");
    CHECK(alia_engine_start(engine) == ALIA_OK);
    FAILS(alia_engine_start(engine), ALIA_BUSY, "engine");
    FAILS(alia_engine_step(engine, events, 16, &count), ALIA_BUSY, "engine");
    CHECK(alia_engine_next(engine, events, 16, 1, &count) == ALIA_OK && count == 0);

    client all[clients];
    pthread_t threads[clients];
    for (int i = 0; i < clients; ++i) {
        all[i] = (client){.engine = engine, .first = i * each};
        pthread_create(&threads[i], NULL, submit_some, &all[i]);
    }
    int finished = 0, tokens = 0;
    char seen[clients * each + 1] = {0};
    while (finished < clients * each && !failures) {
        CHECK(alia_engine_next(engine, events, 16, 10000, &count) == ALIA_OK && count > 0);
        for (uint32_t i = 0; i < count; ++i) {
            tokens += events[i].kind == ALIA_EVENT_TOKEN;
            if (events[i].kind != ALIA_EVENT_FINISHED) continue;
            ++finished;
            CHECK(events[i].request <= clients * each && !seen[events[i].request]);
            seen[events[i].request] = 1;
            CHECK(events[i].finish == ALIA_FINISH_LENGTH || events[i].finish == ALIA_FINISH_CANCELLED);
        }
    }
    for (int i = 0; i < clients; ++i) pthread_join(threads[i], NULL);
    CHECK(tokens > clients * each);

    /* Stopped and pulled, an engine goes on where it was. */
    alia_request_options o = plain(5);
    uint64_t request;
    CHECK(alia_engine_stop(engine) == ALIA_OK && alia_engine_stop(engine) == ALIA_OK);
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &o, &request) == ALIA_OK);
    for (finished = 0; !finished && !failures;) {
        CHECK(alia_engine_step(engine, events, 16, &count) == ALIA_OK);
        for (uint32_t i = 0; i < count; ++i) finished |= events[i].kind == ALIA_EVENT_FINISHED;
    }
    CHECK(alia_engine_start(engine) == ALIA_OK);
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &o, &request) == ALIA_OK);
    CHECK(alia_engine_free(engine) == ALIA_OK); /* in mid-generation */
}

static void* wait_for_ever(void* engine) {
    alia_event event = ALIA_EVENT_INIT;
    uint32_t count;
    return (void*)(intptr_t)alia_engine_next(engine, &event, 1, -1, &count);
}

static void test_waiting(alia_model* model) {
    alia_engine* engine = open_engine(model, 8);
    pthread_t thread;
    void* status;
    CHECK(alia_engine_start(engine) == ALIA_OK);
    pthread_create(&thread, NULL, wait_for_ever, engine);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    CHECK(alia_engine_free(engine) == ALIA_OK);
    pthread_join(thread, &status);
    CHECK((intptr_t)status == ALIA_BAD_HANDLE);

    /* One that is cancelled ends its call first. */
    engine = open_engine(model, 8);
    CHECK(alia_engine_start(engine) == ALIA_OK);
    pthread_create(&thread, NULL, wait_for_ever, engine);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    CHECK(pthread_cancel(thread) == 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    CHECK(alia_engine_free(engine) == ALIA_OK);
    pthread_join(thread, &status);
    CHECK((intptr_t)status == ALIA_BAD_HANDLE);

    /* A request that waits for its choice has a deadline all the same. */
    alia_request_options o = plain(6);
    alia_event event = ALIA_EVENT_INIT;
    uint64_t request;
    uint32_t count;
    engine = open_engine(model, 8);
    o.flags |= ALIA_REQUEST_CHOOSE, o.deadline = 200;
    CHECK(alia_engine_start(engine) == ALIA_OK);
    CHECK(alia_engine_submit(engine, prompt, prompt_count, &o, &request) == ALIA_OK);
    do CHECK(alia_engine_next(engine, &event, 1, 20000, &count) == ALIA_OK && count == 1);
    while (event.kind != ALIA_EVENT_FINISHED && !failures);
    CHECK(event.finish == ALIA_FINISH_DEADLINE);
    CHECK(alia_engine_free(engine) == ALIA_OK);
}

/* ---- Limits of what waits ---- */

enum { submitters = 4, most_waiting = 128 };
typedef struct {
    alia_engine* engine;
    pthread_barrier_t* together;
    uint64_t request;
    alia_status status;
} submitter;

static void* submit_as_many_as_may_wait(void* argument) {
    submitter* s = argument;
    alia_request_options o = plain(1);
    o.completions = most_waiting;
    pthread_barrier_wait(s->together);
    s->status = alia_engine_submit(s->engine, prompt, prompt_count, &o, &s->request);
    return NULL;
}

/* Of threads that submit at once, each a whole queue, one comes in. */
static void test_queue(alia_model* model) {
    alia_engine_options o = ALIA_ENGINE_OPTIONS_INIT;
    alia_engine* engine;
    pthread_barrier_t together;
    o.context = 64, o.queue = most_waiting;
    CHECK(alia_engine_open(model, &o, &engine) == ALIA_OK);
    CHECK(pthread_barrier_init(&together, NULL, submitters) == 0);
    for (int round = 0; round < 50 && !failures; ++round) {
        submitter all[submitters];
        pthread_t threads[submitters];
        int came_in = 0, finished = 0;
        for (int i = 0; i < submitters; ++i) {
            all[i] = (submitter){.engine = engine, .together = &together};
            CHECK(pthread_create(&threads[i], NULL, submit_as_many_as_may_wait, &all[i]) == 0);
        }
        for (int i = 0; i < submitters; ++i) {
            pthread_join(threads[i], NULL);
            CHECK(all[i].status == ALIA_OK || all[i].status == ALIA_LIMIT);
            came_in += all[i].status == ALIA_OK;
            if (all[i].status == ALIA_OK) CHECK(alia_engine_cancel(engine, all[i].request) == ALIA_OK);
        }
        CHECK(came_in == 1);
        while (finished < most_waiting && !failures) {
            alia_event event = ALIA_EVENT_INIT;
            uint32_t count = 0;
            CHECK(alia_engine_step(engine, &event, 1, &count) == ALIA_OK && count == 1);
            finished += event.kind == ALIA_EVENT_FINISHED;
        }
    }
    pthread_barrier_destroy(&together);
    CHECK(alia_engine_free(engine) == ALIA_OK);
}

/* A model of one layer whose weights are zero. The tokenizer's file may be NULL. */
enum { narrow = 32 };
static alia_model* open_zeros(int vocabulary, const char* tokenizer) {
    static const char config_format[] =
        "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_act\": \"silu\", "
        "\"hidden_size\": 32, \"intermediate_size\": 32, \"num_hidden_layers\": 1, \"num_attention_heads\": 1, "
        "\"num_key_value_heads\": 1, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0, \"vocab_size\": %d, "
        "\"max_position_embeddings\": 64, \"tie_word_embeddings\": true, \"bos_token_id\": 1, \"eos_token_id\": 2}";
    static const struct {
        const char* name;
        int rows; /* 0: one dimension */
    } tensors[] = {{"embed_tokens", 0},
                   {"norm", 0},
                   {"layers.0.input_layernorm", 0},
                   {"layers.0.post_attention_layernorm", 0},
                   {"layers.0.self_attn.q_proj", narrow},
                   {"layers.0.self_attn.k_proj", narrow},
                   {"layers.0.self_attn.v_proj", narrow},
                   {"layers.0.self_attn.o_proj", narrow},
                   {"layers.0.mlp.gate_proj", narrow},
                   {"layers.0.mlp.up_proj", narrow},
                   {"layers.0.mlp.down_proj", narrow}};
    char header[2048], shape[32], config[sizeof config_format + 16];
    snprintf(config, sizeof config, config_format, vocabulary);
    size_t data = 0;
    uint64_t length = 0;
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; ++i) {
        const int rows = i == 0 ? vocabulary : tensors[i].rows;
        const size_t bytes = (size_t)(rows ? rows : 1) * narrow * 2;
        if (rows)
            snprintf(shape, sizeof shape, "[%d, %d]", rows, narrow);
        else
            snprintf(shape, sizeof shape, "[%d]", narrow);
        length += (uint64_t)snprintf(
            header + length, sizeof header - length,
            "%c\"model.%s.weight\": {\"dtype\": \"BF16\", \"shape\": %s, \"data_offsets\": [%zu, %zu]}", i ? ',' : '{',
            tensors[i].name, shape, data, data + bytes);
        data += bytes;
    }
    header[length++] = '}';
    char* tensor_file = calloc(1, sizeof length + length + data);
    CHECK(tensor_file != NULL);
    memcpy(tensor_file, &length, sizeof length);
    memcpy(tensor_file + sizeof length, header, length);
    const char* const file_names[] = {"config.json", "model.safetensors", "tokenizer.json"};
    const void* const file_bytes[] = {config, tensor_file, tokenizer};
    const uint64_t file_lengths[] = {strlen(config), sizeof length + length + data, tokenizer ? strlen(tokenizer) : 0};
    const int count = tokenizer ? 3 : 2;
    alia_memory_file files[3];
    for (int i = 0; i < count; ++i) {
        files[i] = (alia_memory_file)ALIA_MEMORY_FILE_INIT;
        files[i].name = file_names[i], files[i].name_length = strlen(file_names[i]);
        files[i].bytes = file_bytes[i], files[i].length = file_lengths[i];
    }
    alia_model* model = NULL;
    CHECK(alia_model_open_memory(files, (uint64_t)count, NULL, &model) == ALIA_OK);
    free(tensor_file);
    return model;
}

static int64_t prompt_tokens(alia_engine* engine) {
    static const char key[] = "\"prompt_tokens\":";
    char* json = NULL;
    uint64_t length;
    CHECK(alia_engine_counters(engine, &json, &length) == ALIA_OK);
    const char* at = strstr(json, key);
    CHECK(at != NULL);
    const int64_t tokens = at ? strtoll(at + strlen(key), NULL, 10) : 0;
    alia_text_free(json);
    return tokens;
}
/* Waits until so many tokens of prompts are processed, and then to see whether more are. */
static void expect_prompt_tokens(alia_engine* engine, int64_t tokens) {
    const struct timespec a_moment = {.tv_nsec = 20000000};
    for (int turns = 0; prompt_tokens(engine) < tokens && turns < 3000; ++turns) nanosleep(&a_moment, NULL);
    nanosleep(&a_moment, NULL);
    CHECK(prompt_tokens(engine) == tokens);
}

static void test_waiting_logits(void) {
    enum { wide_vocabulary = 65536, rows = 16, requests = 20 }; /* each has 4 MiB of logits; 64 MiB may wait */
    alia_model* model = open_zeros(wide_vocabulary, NULL);
    alia_engine_options eo = ALIA_ENGINE_OPTIONS_INIT;
    alia_engine* engine;
    uint64_t request;
    int32_t ids[rows] = {0};
    if (failures) return;
    eo.context = 64, eo.sequences = 1, eo.chunk = rows, eo.logit_rows = rows;
    CHECK(alia_engine_open(model, &eo, &engine) == ALIA_OK);
    alia_request_options o = plain(0);
    o.flags |= ALIA_REQUEST_PROMPT_LOGITS;
    for (int i = 0; i < requests; ++i) CHECK(alia_engine_submit(engine, ids, rows, &o, &request) == ALIA_OK);
    CHECK(alia_engine_start(engine) == ALIA_OK);
    expect_prompt_tokens(engine, 16 * rows);
    for (int finished = 0; finished < requests && !failures;) {
        alia_event event = ALIA_EVENT_INIT;
        uint32_t count = 0;
        CHECK(alia_engine_next(engine, &event, 1, 20000, &count) == ALIA_OK && count == 1);
        if (event.kind == ALIA_EVENT_LOGITS) {
            CHECK(event.rows == rows && event.columns == wide_vocabulary);
            if (event.request == 1) expect_prompt_tokens(engine, 17 * rows);
        }
        finished += event.kind == ALIA_EVENT_FINISHED;
    }
    CHECK(prompt_tokens(engine) == requests * rows);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(model) == ALIA_OK);
}

/* Tokens that end a turn, of which the model draws one. */
static void test_ends_of_turns(void) {
    static const char last[] = "\"la\":6", with_ends[] = "\"la\":6,\"<|im_end|>\":7";
    const size_t at = (size_t)(strstr(tiny_tokenizer, last) - tiny_tokenizer);
    char tokenizer[sizeof tiny_tokenizer + sizeof with_ends];
    memcpy(tokenizer, tiny_tokenizer, at);
    snprintf(tokenizer + at, sizeof tokenizer - at, "%s%s", with_ends, tiny_tokenizer + at + strlen(last));
    for (int vocabulary = 7; vocabulary < 9; ++vocabulary) {
        int32_t* ids = NULL;
        uint64_t n = 77;
        alia_model* model = open_zeros(vocabulary, tokenizer);
        CHECK(alia_chat_stops(model, &ids, &n) == ALIA_OK && n == (vocabulary > 7));
        alia_ids_free(ids);
        CHECK(alia_model_free(model) == ALIA_OK);
    }
}

/* The model's files, read whole. */
enum { file_count = 3 };
static const char* names[file_count] = {"config.json", "generation_config.json", "model.safetensors"};
static char* contents[file_count];
static uint64_t sizes[file_count];

static int find(const char* name, uint64_t length) {
    for (int i = 0; i < file_count; ++i)
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0) return i;
    return -1;
}
static int64_t size_of_file(void* user, const char* name, uint64_t length) {
    const int i = find(name, length);
    (void)user;
    return i < 0 ? -1 : (int64_t)sizes[i];
}
static int32_t read_file(void* user, const char* name, uint64_t length, int64_t offset, void* to, uint64_t bytes) {
    int* left = user;
    if (left && --*left < 0) return 1;
    memcpy(to, contents[find(name, length)] + offset, bytes);
    return 0;
}

/* The caller's functions open models of their own, from the system's files. */
static int others_opened;
static void open_another(void) {
    alia_model_options o = ALIA_MODEL_OPTIONS_INIT;
    alia_model* other = NULL;
    o.load = ALIA_LOAD_HEADERS;
    CHECK(alia_model_open(path, strlen(path), &o, &other) == ALIA_OK && alia_model_free(other) == ALIA_OK);
    ++others_opened;
}
static int64_t size_beside_another(void* user, const char* name, uint64_t length) {
    open_another();
    return size_of_file(user, name, length);
}
static int32_t read_beside_another(void* user, const char* name, uint64_t length, int64_t offset, void* to,
                                   uint64_t bytes) {
    open_another();
    return read_file(user, name, length, offset, to, bytes);
}
static int32_t progress_beside_another(void* user, const alia_progress* p) {
    (void)user, (void)p;
    open_another();
    return 0;
}

static void test_sources(alia_model* model) {
    alia_memory_file files[file_count];
    for (int i = 0; i < file_count; ++i) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", path, names[i]);
        FILE* f = fopen(name, "rb");
        CHECK(f != NULL);
        if (!f) return;
        fseek(f, 0, SEEK_END);
        sizes[i] = (uint64_t)ftell(f);
        contents[i] = malloc(sizes[i]);
        rewind(f);
        CHECK(fread(contents[i], 1, sizes[i], f) == sizes[i]);
        fclose(f);
        files[i] = (alia_memory_file)ALIA_MEMORY_FILE_INIT;
        files[i].name = names[i], files[i].name_length = strlen(names[i]);
        files[i].bytes = contents[i], files[i].length = sizes[i];
    }
    alia_request_options o = plain(8);
    alia_engine* engine = open_engine(model, 8);
    const answers expected = run(engine, &o, prompt, prompt_count);
    CHECK(alia_engine_free(engine) == ALIA_OK);

    alia_model* loaded;
    CHECK(alia_model_open_memory(files, file_count, NULL, &loaded) == ALIA_OK);
    engine = open_engine(loaded, 8);
    CHECK(memcmp(run(engine, &o, prompt, prompt_count).tokens, expected.tokens, sizeof expected.tokens) == 0);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(loaded) == ALIA_OK);
    CHECK(alia_model_open_memory(files, 1, NULL, &loaded) != ALIA_OK && strstr(alia_error_message(), "memory"));
    files[2].length -= 10;
    CHECK(alia_model_open_memory(files, file_count, NULL, &loaded) == ALIA_TRUNCATED);
    BAD(alia_model_open_memory(files, 0, NULL, &loaded), "files");
    files[1].name = names[0], files[1].name_length = strlen(names[0]);
    FAILS(alia_model_open_memory(files, 2, NULL, &loaded), ALIA_DUPLICATE, "files[1]");

    alia_reader reader = ALIA_READER_INIT;
    BAD(alia_model_open_reader(&reader, NULL, 0, NULL, &loaded), "reader");
    reader.file_size = size_of_file, reader.read = read_file;
    CHECK(alia_model_open_reader(&reader, NULL, 0, NULL, &loaded) == ALIA_OK);
    engine = open_engine(loaded, 8);
    CHECK(memcmp(run(engine, &o, prompt, prompt_count).tokens, expected.tokens, sizeof expected.tokens) == 0);
    CHECK(alia_engine_free(engine) == ALIA_OK && alia_model_free(loaded) == ALIA_OK);
    for (int fails = 0; fails < 3; ++fails) {
        int left = fails;
        reader.user = &left;
        CHECK(alia_model_open_reader(&reader, NULL, 0, NULL, &loaded) == ALIA_IO &&
              strstr(alia_error_message(), "reader/"));
    }
    CHECK(alia_model_open_reader(&reader, "none.gguf", 9, NULL, &loaded) == ALIA_NOT_FOUND);
    alia_model_options beside = ALIA_MODEL_OPTIONS_INIT;
    beside.load = ALIA_LOAD_HEADERS, beside.progress = progress_beside_another;
    reader.user = NULL, reader.file_size = size_beside_another, reader.read = read_beside_another;
    CHECK(alia_model_open_reader(&reader, NULL, 0, &beside, &loaded) == ALIA_OK);
    CHECK(others_opened > 4 && alia_model_free(loaded) == ALIA_OK);
    for (int i = 0; i < file_count; ++i) free(contents[i]);
}

#define SET(kind, options, name, value) alia_##kind##_options_set(options, name, strlen(name), value, strlen(value))
static void test_names(void) {
    alia_model_options m = ALIA_MODEL_OPTIONS_INIT;
    alia_engine_options e = ALIA_ENGINE_OPTIONS_INIT;
    alia_request_options r = ALIA_REQUEST_OPTIONS_INIT;
    CHECK(SET(model, &m, "threads", "3") == ALIA_OK && m.threads == 3);
    CHECK(SET(engine, &e, "positions", "8192") == ALIA_OK && e.positions == 8192);
    CHECK(SET(request, &r, "top_p", "0.25") == ALIA_OK && r.top_p == 0.25);
    CHECK(SET(request, &r, "seed", "18446744073709551615") == ALIA_OK && r.seed == UINT64_MAX);
    FAILS(SET(request, &r, "top_pp", "1"), ALIA_NOT_FOUND, "name");
    CHECK(strstr(alia_error_message(), "\"top_p\"") != NULL);
    BAD(SET(request, &r, "top_k", "3000000000"), "value");
    BAD(SET(request, &r, "top_k", "1 "), "value");
    BAD(SET(request, &r, "top_k", ""), "value");
    BAD(alia_request_options_set(NULL, "top_k", 5, "1", 1), "options");
    r.size = 64;
    FAILS(SET(request, &r, "priority", "1"), ALIA_UNSUPPORTED, "options");
    CHECK(r.top_k == -1);
}

int main(int argc, char** argv) {
    if (argc != 2) return 2;
    path = argv[1];
    alia_model* model = open_model();
    test_requests(model);
    test_sequences(model);
    test_background(model);
    test_waiting(model);
    test_queue(model);
    test_waiting_logits();
    test_ends_of_turns();
    test_sources(model);
    test_names();
    CHECK(alia_model_free(model) == ALIA_OK);
    printf("%s\n", failures ? "failed" : "all passed");
    return failures != 0;
}

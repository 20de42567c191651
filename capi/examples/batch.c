/* batch MODEL TEXT...: continues many texts at once and prints each with its continuation, in the order given. */
#include <alia.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char* prompt;
    uint64_t request;
    char* text;
    size_t length;
} answer;

static int failed(void) {
    fprintf(stderr, "batch: %s\n", alia_error_message());
    return 0;
}

static int submit(alia_model* model, alia_engine* engine, answer* a) {
    alia_text_part part = ALIA_TEXT_PART_INIT;
    part.text = a->prompt;
    part.length = strlen(a->prompt);
    int32_t* ids;
    uint64_t count;
    if (alia_model_encode(model, &part, 1, ALIA_ENCODE_ADD_SPECIAL, &ids, &count)) return failed();
    alia_request_options options = ALIA_REQUEST_OPTIONS_INIT;
    options.max_tokens = 32;
    const alia_status status = alia_engine_submit(engine, ids, count, &options, &a->request);
    alia_ids_free(ids);
    return status ? failed() : 1;
}

static int take(answer* a, const alia_event* event) {
    if (event->finish == ALIA_FINISH_ERROR) {
        fprintf(stderr, "batch: %s: %.*s\n", a->prompt, (int)event->message_length, event->message);
        return 0;
    }
    char* longer = realloc(a->text, a->length + event->text_length + 1);
    if (!longer) {
        fprintf(stderr, "batch: out of memory\n");
        return 0;
    }
    a->text = longer;
    if (event->text_length) memcpy(longer + a->length, event->text, event->text_length);
    a->length += event->text_length;
    return 1;
}

/* Each step moves every request on; its events say whose they are. */
static int run(alia_engine* engine, answer* answers, int count) {
    for (int running = count; running > 0;) {
        alia_event events[16];
        uint32_t n;
        for (int i = 0; i < 16; ++i) events[i] = (alia_event)ALIA_EVENT_INIT;
        if (alia_engine_step(engine, events, 16, &n)) return failed();
        for (uint32_t i = 0; i < n; ++i) {
            answer* a = answers;
            while (a->request != events[i].request) ++a;
            if (!take(a, &events[i])) return 0;
            running -= events[i].kind == ALIA_EVENT_FINISHED;
        }
    }
    return 1;
}

static void print(const answer* a) {
    printf("%s", a->prompt);
    fwrite(a->text, 1, a->length, stdout);
    putchar('\n');
}

int main(int argc, char** argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: batch MODEL TEXT...\n");
        return 2;
    }
    const char* path = argv[1];
    const int count = argc - 2;
    alia_model* model = NULL;
    alia_engine* engine = NULL;
    answer* answers = calloc((size_t)count, sizeof *answers);
    int good = answers && !alia_check() && !alia_model_open(path, strlen(path), NULL, &model) &&
               !alia_engine_open(model, NULL, &engine);
    if (!good) failed();
    for (int i = 0; good && i < count; ++i) {
        answers[i].prompt = argv[2 + i];
        good = submit(model, engine, &answers[i]);
    }
    good = good && run(engine, answers, count);
    for (int i = 0; good && i < count; ++i) print(&answers[i]);
    for (int i = 0; answers && i < count; ++i) free(answers[i].text);
    free(answers);
    alia_engine_free(engine);
    alia_model_free(model);
    return good ? 0 : 1;
}

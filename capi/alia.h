/* libalia's C interface: the whole of what is promised to programs, and its only documentation of record. C11 and C++.
 *
 * A program opens a model, opens an engine on it, submits a request and steps the engine until the request's finished
 * event:
 *
 *     alia_model* model;
 *     alia_engine* engine;
 *     if (alia_check() != ALIA_OK || alia_model_open(path, strlen(path), NULL, &model) != ALIA_OK) {
 *         fprintf(stderr, "%s\n", alia_error_message());
 *         return 1;
 *     }
 *
 * Rules of every function; its comment says where it differs:
 *
 *  - Status. The result is ALIA_OK or a status below; results proper come last, through pointers, and are not written
 *    on failure. alia_error_message() and its siblings say more about the calling thread's last failure. Making an
 *    error allocates nothing.
 *  - State after a failure. The handle is as it was before the call. The one exception is alia_engine_step.
 *  - Threads. Any function may be called from any thread at any time. A model is immutable. An engine has a lock
 *    inside; only alia_engine_cancel does not wait for it.
 *  - Handles. alia_model* and alia_engine* are numbers that only look like pointers. One that was freed, or that this
 *    library did not make, gives ALIA_BAD_HANDLE and touches no memory. At most 4096 are open at a time.
 *  - Text is UTF-8, a pointer and a length in bytes, both ways. Text given in needs no terminator; a length of 0
 *    allows NULL. Text given out has a NUL behind it that the length does not count, except in events and token bytes.
 *  - Memory. What comes out is borrowed until the moment its comment states, or owned by the caller and freed with the
 *    function that its comment names. What goes in is read during the call and not kept.
 *  - Structs are passed by pointer and start with their size; set them up with their ..._INIT macro. The library reads
 *    only `size` bytes and takes the macro's values for what lies beyond. A size larger than the library's is
 *    ALIA_UNSUPPORTED unless every byte that it does not know is zero. NULL for options means the macro's values.
 *  - Arguments. NULL where a pointer is needed, and a number out of its range, are ALIA_INVALID_ARGUMENT;
 *    alia_error_item() names the argument.
 *  - The library prints nothing, installs no signal handler, uses no network, and runs nothing at exit. It may be
 *    unloaded once its handles are freed.
 *  - fork. The weights of a model and an engine belong to the process that opened them: in a child, alia_engine_open
 *    on an inherited model and every function of an inherited engine give ALIA_BAD_HANDLE; the text functions of an
 *    inherited model work, and freeing forgets the handle without freeing the memory.
 */
#ifndef ALIA_H
#define ALIA_H
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define ALIA_API __attribute__((visibility("default")))
#else
#define ALIA_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Version ---- */

/* The interface's version, apart from the release's: programs run with libraries of the same major number and the same
 * or a higher minor number. */
#define ALIA_ABI_MAJOR 0
#define ALIA_ABI_MINOR 1
#define ALIA_ABI_VERSION ((uint32_t)(ALIA_ABI_MAJOR << 16 | ALIA_ABI_MINOR))

typedef int32_t alia_status;
enum {
    ALIA_OK = 0,
    ALIA_INVALID_ARGUMENT = 1, /* an argument of the caller */
    ALIA_NOT_FOUND = 2,        /* no such file, tensor, token or request */
    ALIA_IO = 3,               /* the system failed to open, map or read */
    ALIA_TRUNCATED = 4,        /* a file ends before what it announces */
    ALIA_MALFORMED = 5,        /* bytes that break their format's rules */
    ALIA_DUPLICATE = 6,        /* one name twice */
    ALIA_OVERLAP = 7,          /* two tensors share bytes */
    ALIA_MISSING = 8,          /* a tensor, key or shard that the model needs is absent */
    ALIA_SHAPE = 9,            /* a tensor's shape contradicts the configuration */
    ALIA_UNSUPPORTED = 10,     /* well formed, but not something this library runs or knows */
    ALIA_LIMIT = 11,           /* beyond a stated limit */
    ALIA_OUT_OF_MEMORY = 12,
    ALIA_NO_TOKENIZER = 13,       /* the checkpoint came without one */
    ALIA_CONTEXT_FULL = 14,       /* more tokens than the cache has positions */
    ALIA_DEVICE_UNAVAILABLE = 15, /* no such device, or this build lacks it */
    ALIA_DEVICE_LOST = 16,
    ALIA_BAD_HANDLE = 17,
    ALIA_BUSY = 18,
    ALIA_CANCELLED = 19, /* by the caller */
    ALIA_INTERNAL = 20   /* a defect of libalia */
};

/* ALIA_ABI_VERSION of the library that runs. */
ALIA_API uint32_t alia_abi_version(void);

/* The release, such as "0.1.0". Borrowed forever. */
ALIA_API const char* alia_version(void);

/* ALIA_OK where a program compiled for `abi` (an ALIA_ABI_VERSION) may run with this library, else ALIA_UNSUPPORTED,
 * and alia_error_message() says which of the two is too old. */
ALIA_API alia_status alia_abi_check(uint32_t abi);

/* To be called first: whether header and library fit. */
static inline alia_status alia_check(void) { return alia_abi_check(ALIA_ABI_VERSION); }

/* ---- Errors ---- */

/* The calling thread's last failure; successes leave it. Pointers are borrowed until the thread's next failure. */

/* ALIA_OK where no call of this thread has failed yet. */
ALIA_API alia_status alia_error_status(void);

/* One sentence for people, naming file, tensor, byte or argument; "" where nothing has failed. Valid UTF-8 unless a
 * file's name is not; NUL-terminated. */
ALIA_API const char* alia_error_message(void);

/* The tensor, metadata key, JSON pointer or argument that it is about, or "". NUL-terminated. */
ALIA_API const char* alia_error_item(void);

/* The byte in the file or text that it is about, or -1. */
ALIA_API int64_t alia_error_offset(void);

/* 1 where the handle that the failed call was made on can still be used, 0 where it can only be freed. */
ALIA_API int32_t alia_error_handle_usable(void);

/* The status's name, such as "bad_handle"; "unknown" for another number. Borrowed forever. */
ALIA_API const char* alia_status_name(alia_status status);

/* ---- Memory ---- */

/* Frees text or ids that a function's comment hands to the caller. NULL is fine. */
ALIA_API void alia_text_free(char* text);
ALIA_API void alia_ids_free(int32_t* ids);

/* ---- Models ---- */

typedef struct alia_model alia_model;

/* How much of a model to load. */
enum {
    ALIA_LOAD_ALL = 0,    /* everything: such a model can have engines */
    ALIA_LOAD_TEXT = 1,   /* the tokenizer alone; the path may also be a tokenizer's own file or directory */
    ALIA_LOAD_HEADERS = 2 /* all but the weights' numbers, for alia_model_info; what loading would refuse is refused */
};

/* What a load, or other long work, has done so far. */
typedef struct alia_progress {
    uint32_t size;
    uint32_t zero;
    const char* phase; /* "weights"; NUL-terminated, borrowed for the call */
    int64_t done;      /* bytes, unless the function says otherwise */
    int64_t total;
} alia_progress;

/* Called from the thread that loads or works. Returns 0 to go on; anything else stops the work with ALIA_CANCELLED. It
 * must not call functions on the model being loaded, throw, or jump out. */
typedef int32_t (*alia_progress_callback)(void* user, const alia_progress* progress);

/* Flags of a model. */
enum {
    ALIA_MODEL_PIN_THREADS = 1 /* each thread that the library makes for this model and its engines keeps to one of the
                                  processors that the process may use; the calling threads stay free */
};

typedef struct alia_model_options {
    uint32_t size;
    int32_t load;       /* ALIA_LOAD_... */
    const char* device; /* "auto", "cpu", "cpu:base", "ref", ...; empty: the environment's ALIA_DEVICE, else auto */
    uint64_t device_length;
    int32_t threads;                 /* of CPU devices; 0: what the machine and the control group allow */
    uint32_t flags;                  /* ALIA_MODEL_... */
    uint64_t json_bytes;             /* memory that reading one JSON file may take; 0: 1 GiB */
    alia_progress_callback progress; /* may be NULL */
    void* user;                      /* handed to `progress` */
} alia_model_options;
#define ALIA_MODEL_OPTIONS_INIT \
    { (uint32_t)sizeof(alia_model_options), ALIA_LOAD_ALL, NULL, 0, 0, 0, 0, NULL, NULL }

/* Opens a GGUF file (of a split one, any part), a directory as model hubs lay them out (config.json, model.safetensors
 * or its index and shards, tokenizer), or one .safetensors file with config.json beside it. Owned: free with
 * alia_model_free. A checkpoint without a tokenizer opens, except with ALIA_LOAD_TEXT; text functions then give
 * ALIA_NO_TOKENIZER. Errors: ALIA_NOT_FOUND, ALIA_IO, ALIA_TRUNCATED, ALIA_MALFORMED, ALIA_DUPLICATE, ALIA_OVERLAP,
 * ALIA_MISSING, ALIA_SHAPE, ALIA_UNSUPPORTED and ALIA_LIMIT of the files, naming file, tensor and byte;
 * ALIA_NO_TOKENIZER, ALIA_OUT_OF_MEMORY, ALIA_DEVICE_UNAVAILABLE, ALIA_CANCELLED. Nothing is kept after a failure. */
ALIA_API alia_status alia_model_open(const char* path, uint64_t path_length, const alia_model_options* options,
                                     alia_model** model);

/* The handle ends at once; the memory goes when calls that run in other threads, and the model's engines, are through
 * with it. NULL is fine. ALIA_BAD_HANDLE: nothing happened. */
ALIA_API alia_status alia_model_free(alia_model* model);

/* A JSON object: "path", "load" ("all", "text" or "headers"), "bos", "eos", "tokenizer" (null, or "vocabulary"), and,
 * unless only the tokenizer was loaded, "name", "architecture", "layers", "hidden", "heads", "kv_heads", "head_dim",
 * "ffn", "vocabulary", "context", "norm_epsilon", "tied_embeddings", "rope", "parameters", "weights" (a list of
 * "format" and "bytes" as the device keeps them), "embedding" (the table's "format" and "bytes" among them; with tied
 * embeddings it is the head too), "device", and "sampling" (what -1 in alia_request_options stands for). Members are
 * only ever added. The text is owned: free with alia_text_free. */
ALIA_API alia_status alia_model_info(alia_model* model, char** json, uint64_t* length);

/* What opening this model, and an engine on it, would take of memory, from the headers alone: a JSON object with
 * "device", "items" (each "name" and "bytes"), "total", "available" (bytes that the machine or the control group has
 * left; 0: unknown) and "fits". Owned: free with alia_text_free. Errors: those of alia_model_open; `load` and
 * `progress` are not used. */
struct alia_engine_options;
ALIA_API alia_status alia_plan(const char* path, uint64_t path_length, const alia_model_options* model_options,
                               const struct alia_engine_options* engine_options, char** json, uint64_t* length);

/* What a device reaches in loops that do nothing else, the scale for any measurement of a model on it: a JSON object
 * with "device", "read" and "copy" (bytes a second of memory far larger than the caches, a copy counting each byte
 * once), and "f32", "int8" and "bf16" (multiply-adds a second; 0 where it has no such instruction). `device` and
 * `threads` are as in alia_model_options. Takes about a second, 256 MiB and the whole device: nothing else should run
 * meanwhile. Owned: free with alia_text_free. Errors: ALIA_INVALID_ARGUMENT, ALIA_DEVICE_UNAVAILABLE,
 * ALIA_OUT_OF_MEMORY. */
ALIA_API alia_status alia_device_roofs(const char* device, uint64_t device_length, int32_t threads, char** json,
                                       uint64_t* length);

/* ---- Text and tokens ---- */

/* Every function below gives ALIA_NO_TOKENIZER where the model has none, except alia_model_bos and alia_model_eos. */

/* A part of a text to encode. Which of the two it is decides whether a special token that it spells, such as
 * "<|im_end|>", becomes that token or stays harmless letters. */
enum {
    ALIA_PART_LITERAL = 0, /* from a user: no byte of it is ever part of a special token */
    ALIA_PART_TRUSTED = 1  /* from the program, a template's own words: special tokens are parsed */
};
typedef struct alia_text_part {
    uint32_t size;
    int32_t kind; /* ALIA_PART_... */
    const char* text;
    uint64_t length; /* bytes. Any bytes are accepted */
} alia_text_part;
#define ALIA_TEXT_PART_INIT \
    { (uint32_t)sizeof(alia_text_part), ALIA_PART_LITERAL, NULL, 0 }

/* Flags of alia_model_encode. */
enum {
    ALIA_ENCODE_ADD_SPECIAL = 1 /* what the tokenizer's file adds around a text, such as a first <s> */
};

/* Encodes the parts' concatenation as one text. `parts` is an array whose elements all have the size of the first;
 * `flags` is a sum of ALIA_ENCODE_... . The ids are owned: free with alia_ids_free; they are never NULL, even where
 * there are none. */
ALIA_API alia_status alia_model_encode(alia_model* model, const alia_text_part* parts, uint64_t part_count,
                                       uint32_t flags, int32_t** ids, uint64_t* id_count);

/* Flags of alia_model_decode. */
enum {
    ALIA_DECODE_KEEP_SPECIAL = 1 /* special tokens are written out; otherwise they are left out */
};

/* The text of these tokens. Owned: free with alia_text_free. ALIA_INVALID_ARGUMENT, naming the index, for a token out
 * of range. */
ALIA_API alia_status alia_model_decode(alia_model* model, const int32_t* ids, uint64_t id_count, uint32_t flags,
                                       char** text, uint64_t* length);

/* The bytes that a token adds to a text, which need not be whole UTF-8. Borrowed until the model is freed.
 * ALIA_INVALID_ARGUMENT for a token out of range. */
ALIA_API alia_status alia_model_token_bytes(alia_model* model, int32_t token, const char** bytes, uint64_t* length);

/* The token that is written exactly so, special or not; ALIA_NOT_FOUND where there is none. */
ALIA_API alia_status alia_model_token_find(alia_model* model, const char* text, uint64_t length, int32_t* token);

/* How many tokens the tokenizer knows. Rows of logits may be longer: alia_event's `columns`. */
ALIA_API alia_status alia_model_vocabulary(alia_model* model, int32_t* size);

/* The token that starts a text, or -1. */
ALIA_API alia_status alia_model_bos(alia_model* model, int32_t* token);

/* The tokens that end a generation, possibly none. Borrowed until the model is freed. */
ALIA_API alia_status alia_model_eos(alia_model* model, const int32_t** tokens, uint64_t* count);

/* ---- Engines ---- */

typedef struct alia_engine alia_engine;

/* Formats of the KV cache. */
enum {
    ALIA_CACHE_AUTO = 0, /* what the device prefers */
    ALIA_CACHE_F32 = 1,
    ALIA_CACHE_F16 = 2,
    ALIA_CACHE_BF16 = 3,
    ALIA_CACHE_Q8_0 = 4 /* 8 bits and a scale for 32; where the head dimension is a multiple of 32 */
};

typedef struct alia_engine_options {
    uint32_t size;
    int32_t cache;      /* ALIA_CACHE_... */
    int64_t context;    /* positions that the KV cache holds, at least 1 */
    int32_t chunk;      /* prompt tokens that one step takes at most, at least 1 */
    int32_t logit_rows; /* rows of logits that one step computes at most, at least 1 */
    int32_t threads;    /* 0: as the model's */
    uint32_t zero;
} alia_engine_options;
#define ALIA_ENGINE_OPTIONS_INIT \
    { (uint32_t)sizeof(alia_engine_options), ALIA_CACHE_AUTO, 4096, 256, 32, 0, 0 }

/* An engine with a KV cache of its own; several engines of one model run side by side. It keeps the model alive. Owned:
 * free with alia_engine_free. Errors: ALIA_INVALID_ARGUMENT (options, or a model opened without its weights),
 * ALIA_OUT_OF_MEMORY. */
ALIA_API alia_status alia_engine_open(alia_model* model, const alia_engine_options* options, alia_engine** engine);

/* The handle ends at once, and with it what its events lent; a step that runs in another thread finishes and gives
 * ALIA_BAD_HANDLE. NULL is fine. Allowed on an engine that can no longer be used. ALIA_BAD_HANDLE: nothing happened. */
ALIA_API alia_status alia_engine_free(alia_engine* engine);

/* Flags of a request. */
enum {
    ALIA_REQUEST_IGNORE_EOS = 1,   /* the model's own end tokens do not end it */
    ALIA_REQUEST_PROMPT_LOGITS = 2 /* the logits of every position of the prompt come as events */
};

/* Candidates are treated in this order: penalties and bias, temperature, top-k, top-p, min-p; then one is drawn.
 * Numbers drawn follow from seed and position alone: the same request gives the same tokens. -1 in a sampling field
 * that says so stands for the checkpoint's generation_config.json and, where that says nothing, for greedy. */
typedef struct alia_request_options {
    uint32_t size;
    uint32_t flags;     /* ALIA_REQUEST_... */
    int64_t max_tokens; /* to generate; -1: until the context is full; 0, with prompt logits: only those */
    double temperature; /* 0: always the best token; -1: the checkpoint's */
    double top_p;       /* the smallest set of best tokens whose probability reaches it; 1: off; -1: the checkpoint's */
    double min_p;       /* tokens of at least this share of the best one's probability; 0: off; -1: the checkpoint's */
    double repetition_penalty; /* divides positive logits of tokens seen so far; 1: off; -1: the checkpoint's */
    double frequency_penalty;  /* taken off once for each time that the token was generated */
    double presence_penalty;   /* taken off once if it was generated */
    int32_t top_k;             /* the best so many tokens; 0: off; -1: the checkpoint's */
    uint32_t stop_count;
    const int32_t* stop;       /* [stop_count] tokens that end the request besides the model's own */
    const int32_t* bias_token; /* [bias_count] tokens whose logits are changed, none twice */
    const float* bias;         /* [bias_count] added to them: -1e9 to 1e9, or -INFINITY to forbid */
    uint64_t bias_count;
    uint64_t seed;
} alia_request_options;
#define ALIA_REQUEST_OPTIONS_INIT \
    { (uint32_t)sizeof(alia_request_options), 0, -1, -1, -1, -1, -1, 0, 0, -1, 0, NULL, NULL, NULL, 0, 0 }

/* Queues a prompt of at least one token and gives the request's number, from 1. Waits for a step that runs in another
 * thread. Errors: ALIA_INVALID_ARGUMENT (a field, or a token out of range), ALIA_CONTEXT_FULL (the prompt is longer
 * than the context). */
ALIA_API alia_status alia_engine_submit(alia_engine* engine, const int32_t* ids, uint64_t id_count,
                                        const alia_request_options* options, uint64_t* request);

/* What an event tells. */
enum {
    ALIA_EVENT_TOKEN = 1,   /* request, token, position, text */
    ALIA_EVENT_LOGITS = 2,  /* request, position, logits, rows, columns */
    ALIA_EVENT_FINISHED = 3 /* its last: request, finish, position, text (the rest), prompt_tokens, generated_tokens */
};

/* Why a request finished. */
enum {
    ALIA_FINISH_NONE = 0,
    ALIA_FINISH_STOP = 1,    /* the model's end token or one of `stop` */
    ALIA_FINISH_LENGTH = 2,  /* max_tokens */
    ALIA_FINISH_CONTEXT = 3, /* the context is full */
    ALIA_FINISH_CANCELLED = 4
};

/* Fields that a kind does not list are 0 or NULL, tokens -1. */
typedef struct alia_event {
    uint32_t size;
    int32_t kind; /* ALIA_EVENT_... */
    uint64_t request;
    int32_t token;
    int32_t finish; /* ALIA_FINISH_... */
    int32_t rows;   /* of logits */
    uint32_t zero;
    int64_t position; /* token: its position in the sequence; logits: the first row's */
    const char* text; /* what can be shown by now: whole UTF-8, possibly nothing. Borrowed until the engine's next step
                         or its end; no NUL behind it */
    uint64_t text_length;
    const float* logits; /* [rows][columns], rows one behind the other. Borrowed likewise */
    int64_t columns;     /* the model's vocabulary */
    int64_t prompt_tokens;
    int64_t generated_tokens;
} alia_event;
#define ALIA_EVENT_INIT \
    { (uint32_t)sizeof(alia_event), 0, 0, -1, 0, 0, 0, 0, NULL, 0, NULL, 0, 0, 0 }

/* Runs one bounded step, a chunk of a prompt or one token, and writes its events to events[0 .. *count - 1]. `events`
 * has room for `capacity` of them, at least 1, each with its `size` set, all alike. Events for which there is no room
 * come with the next call, which then computes nothing. A step in the middle of a prompt has no events: ask
 * alia_engine_idle, or wait for the finished event. What events lend stays valid until the next call of this function
 * on this engine, from any thread. Errors: ALIA_OUT_OF_MEMORY, ALIA_DEVICE_LOST, ALIA_INTERNAL: the engine can then
 * only be freed, alia_error_handle_usable() is 0, and later calls on it give ALIA_BAD_HANDLE. Errors of arguments leave
 * it as it was. */
ALIA_API alia_status alia_engine_step(alia_engine* engine, alia_event* events, uint32_t capacity, uint32_t* count);

/* Ends a request; its finished event comes with a later step. Never waits for a step that runs. ALIA_NOT_FOUND where no
 * such request is waiting or running. */
ALIA_API alia_status alia_engine_cancel(alia_engine* engine, uint64_t request);

/* 1 where a step would have nothing to do and no event to give, else 0. Waits for a step that runs in another thread.
 */
ALIA_API alia_status alia_engine_idle(alia_engine* engine, int32_t* idle);

/* ---- Importance ---- */

/* Flags of alia_imatrix. */
enum {
    ALIA_IMATRIX_HEAD = 1 /* the matrix that gives the logits too, which takes their time */
};
typedef struct alia_imatrix_options {
    uint32_t size;
    uint32_t flags;       /* ALIA_IMATRIX_... */
    const char* datasets; /* where the ids come from, such as file names, one a line: kept in the file */
    uint64_t datasets_length;
    alia_progress_callback progress; /* counts tokens, in the phase "tokens"; may be NULL */
    void* user;                      /* handed to `progress` */
} alia_imatrix_options;
#define ALIA_IMATRIX_OPTIONS_INIT \
    { (uint32_t)sizeof(alia_imatrix_options), 0, NULL, 0, NULL, NULL }

/* Measures how strongly texts drive each input column of each weight matrix, and writes what quantisers weigh their
 * errors by: a GGUF file as llama.cpp's imatrix.gguf, with the sums of squared inputs and the number of tokens.
 * lengths[0 .. length_count - 1] cut the ids into sequences, each read by itself; they add up to id_count. The file
 * takes its name once it is whole; after a failure nothing is left of it. Errors: ALIA_INVALID_ARGUMENT (an argument,
 * or a model opened without its weights), ALIA_MALFORMED (the model's numbers are not finite), ALIA_NOT_FOUND and
 * ALIA_IO of the file, ALIA_OUT_OF_MEMORY, ALIA_CANCELLED. */
ALIA_API alia_status alia_imatrix(alia_model* model, const int32_t* ids, uint64_t id_count, const uint64_t* lengths,
                                  uint64_t length_count, const alia_imatrix_options* options, const char* path,
                                  uint64_t path_length);

/* ---- Quantising ---- */

typedef struct alia_quantize_options {
    uint32_t size;
    int32_t threads;     /* 0: what the machine allows */
    const char* imatrix; /* the path of an importance matrix (alia_imatrix), by which errors are weighed; empty: none */
    uint64_t imatrix_length;
    alia_progress_callback progress; /* in the phase "quantising", counts bytes written; may be NULL */
    void* user;                      /* handed to `progress` */
} alia_quantize_options;
#define ALIA_QUANTIZE_OPTIONS_INIT \
    { (uint32_t)sizeof(alia_quantize_options), 0, NULL, 0, NULL, NULL }

/* Writes a model, whatever alia_model_open opens, as a GGUF file whose numbers have the type of that name: F32, F16,
 * BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K_M, Q5_K_M or Q6_K. The file takes its name `target` once it is whole, in
 * place of what was there; after a failure nothing is left of it. Its bytes depend on the source, the type and the
 * importance matrix alone. The result is a JSON object: "type", "bytes" and "file_bytes" (of the tensors and in all),
 * "numbers", "bits_per_number", "formats" (each "format", "tensors", "bytes"), "fallbacks" (each "wanted", "format",
 * "columns", "tensors": rows of so many columns are no multiple of the wanted format's blocks), "notes" (sentences for
 * people) and "tensors" (each "name", "from", "wanted", "format", "rows", "columns", "bytes"). Owned: free with
 * alia_text_free. Errors: those of alia_model_open for the source and the importance matrix; ALIA_INVALID_ARGUMENT (the
 * type, or a target that is the source or a directory), ALIA_MALFORMED and ALIA_LIMIT (a number that is not finite, or
 * that the type cannot hold; tensor, row and column are named), ALIA_NOT_FOUND and ALIA_IO of the target,
 * ALIA_CANCELLED. */
ALIA_API alia_status alia_quantize(const char* source, uint64_t source_length, const char* target,
                                   uint64_t target_length, const char* type, uint64_t type_length,
                                   const alia_quantize_options* options, char** json, uint64_t* length);

#ifdef __cplusplus
}
#endif
#endif

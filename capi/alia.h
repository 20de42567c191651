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
 *  - State after a failure. The handle is as it was before the call. Where a step fails, its comment says more.
 *  - Threads. Any function may be called from any thread at any time. A model is immutable. An engine has a lock
 *    inside, which a step holds: functions that wait for it say so. A thread that is cancelled ends its call first.
 *  - Handles. alia_model* and alia_engine* are numbers that only look like pointers. One that was freed, or that this
 *    library did not make, gives ALIA_BAD_HANDLE and touches no memory. At most 4096 are open at a time.
 *  - Text is UTF-8, a pointer and a length in bytes, both ways. Text given in needs no terminator; a length of 0
 *    allows NULL. Text given out has a NUL behind it that the length does not count, except in events and token bytes.
 *  - Memory. What comes out is borrowed until the moment its comment states, or owned by the caller and freed with the
 *    function that its comment names. What goes in is read during the call and not kept.
 *  - Structs are passed by pointer and start with their size; set them up with their ..._INIT macro. The library reads
 *    only `size` bytes and takes the macro's values for what lies beyond. A size larger than the library's is
 *    ALIA_UNSUPPORTED unless every byte that it does not know is zero. NULL for options means the macro's values.
 *  - Arguments. NULL where a pointer is needed, a length beyond what memory can be, and a number out of its range are
 *    ALIA_INVALID_ARGUMENT; alia_error_item() names the argument.
 *  - What is not yet promised is in capi/alia_unstable.h, which includes this file.
 *  - The library prints nothing, installs no signal handler (and its threads take no signals), uses no network, and
 *    runs nothing at exit. It may be unloaded once its handles are freed.
 *  - fork. The weights of a model and an engine belong to the process that opened them: in a child, alia_engine_open
 *    on an inherited model and every function of an inherited engine give ALIA_BAD_HANDLE; the text functions of an
 *    inherited model work, and freeing forgets the handle without freeing the memory. Once a first
 *    model has been opened, other threads may be inside the library while the process forks.
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
#define ALIA_ABI_MAJOR 1
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

/* One sentence for people, naming file, tensor, byte or argument; "" where nothing has failed. Valid UTF-8, whatever
 * was given, with '?' for bytes that are not; NUL-terminated. */
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

/* Frees text, ids or bytes that a function's comment hands to the caller. NULL is fine. */
ALIA_API void alia_text_free(char* text);
ALIA_API void alia_ids_free(int32_t* ids);
ALIA_API void alia_bytes_free(void* bytes);

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
    const char* phase; /* of a load "files", "device", "tokenizer", "weights", in this order, more may come between
                          them; NUL-terminated, borrowed for the call */
    int64_t done;      /* 0 where the phase begins; bytes, unless the function says otherwise */
    int64_t total;     /* 0: not known, and the phase tells nothing but its beginning */
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
 * alia_model_free. Files are mapped: nobody may cut one short before this returns. A checkpoint without a tokenizer
 * opens, except with ALIA_LOAD_TEXT; text functions then give ALIA_NO_TOKENIZER. Errors: ALIA_NOT_FOUND, ALIA_IO,
 * ALIA_TRUNCATED, ALIA_MALFORMED, ALIA_DUPLICATE, ALIA_OVERLAP, ALIA_MISSING, ALIA_SHAPE, ALIA_UNSUPPORTED and
 * ALIA_LIMIT of the files, naming file, tensor and byte; ALIA_NO_TOKENIZER, ALIA_OUT_OF_MEMORY,
 * ALIA_DEVICE_UNAVAILABLE, ALIA_CANCELLED. Nothing is kept after a failure. */
ALIA_API alia_status alia_model_open(const char* path, uint64_t path_length, const alia_model_options* options,
                                     alia_model** model);

/* A file that the caller has in memory. Its bytes are borrowed for the call that takes it. */
typedef struct alia_memory_file {
    uint32_t size;
    uint32_t zero;
    const char* name; /* "config.json", "model.safetensors", "model.gguf", ... */
    uint64_t name_length;
    const void* bytes;
    uint64_t length;
} alia_memory_file;
#define ALIA_MEMORY_FILE_INIT \
    { (uint32_t)sizeof(alia_memory_file), 0, NULL, 0, NULL, 0 }

/* The same as alia_model_open of a directory that holds these files, or, where there is one file and it is a GGUF, of
 * that file. `files` is an array whose elements all have the size of the first. Errors name a file as "memory/NAME". */
ALIA_API alia_status alia_model_open_memory(const alia_memory_file* files, uint64_t file_count,
                                            const alia_model_options* options, alia_model** model);

/* Files behind functions of the caller: an archive, a database, another machine. They are called from the thread that
 * opens the model, must not call functions on it, throw, or jump out. */
typedef struct alia_reader {
    uint32_t size;
    uint32_t zero;
    /* The bytes of the file of that name, or -1 where there is none. */
    int64_t (*file_size)(void* user, const char* name, uint64_t name_length);
    /* Fills `to` with `length` bytes from `offset` on; 0, or anything else where that failed. */
    int32_t (*read)(void* user, const char* name, uint64_t name_length, int64_t offset, void* to, uint64_t length);
    void* user;
} alia_reader;
#define ALIA_READER_INIT \
    { (uint32_t)sizeof(alia_reader), 0, NULL, NULL, NULL }

/* The same as alia_model_open of a directory whose files the reader has or, where `name` is not empty, of that GGUF
 * file. Each file is read once, whole, into memory that goes as its weights are packed. ALIA_IO where `read` fails,
 * naming the file and the byte. Errors name a file as "reader/NAME". */
ALIA_API alia_status alia_model_open_reader(const alia_reader* reader, const char* name, uint64_t name_length,
                                            const alia_model_options* options, alia_model** model);

/* ---- Options by name ---- */

/* Set a field of an options struct by its name, such as "threads" or "top_p", from text, for configuration files and
 * command lines: numbers in decimal, texts and pointers not. Errors: ALIA_NOT_FOUND (no such field; the message
 * suggests the nearest), ALIA_INVALID_ARGUMENT (no number, or out of its type's range), ALIA_UNSUPPORTED (the struct is
 * of an older client and lacks the field). The struct is as it was after a failure. */
ALIA_API alia_status alia_model_options_set(alia_model_options* options, const char* name, uint64_t name_length,
                                            const char* value, uint64_t value_length);
struct alia_engine_options;
struct alia_request_options;
ALIA_API alia_status alia_engine_options_set(struct alia_engine_options* options, const char* name,
                                             uint64_t name_length, const char* value, uint64_t value_length);
ALIA_API alia_status alia_request_options_set(struct alia_request_options* options, const char* name,
                                              uint64_t name_length, const char* value, uint64_t value_length);

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
ALIA_API alia_status alia_plan(const char* path, uint64_t path_length, const alia_model_options* model_options,
                               const struct alia_engine_options* engine_options, char** json, uint64_t* length);

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

/* ---- Conversations ---- */

/* A checkpoint's chat template (chat_template.jinja, tokenizer_config.json or GGUF; the subset of Jinja that published
 * ones use) turns messages into the text that the model was trained on. It can read nothing but what it is given, and
 * has a budget of steps, memory, depth and output. A template that does not parse refuses these functions, never the
 * model; one whose file made no sense when alia_model_open read it is read again by each of them. Without a template, a
 * vocabulary with <|im_start|> and <|im_end|> gets ChatML as BSC trains it. */

/* Where the text ends. */
enum {
    ALIA_CHAT_ANSWER = 0,   /* where the assistant's next turn begins */
    ALIA_CHAT_CONTINUE = 1, /* inside the last message, which is the start of a turn that the model continues */
    ALIA_CHAT_CLOSED = 2    /* behind the last message's turn */
};

typedef struct alia_chat_options {
    uint32_t size;
    int32_t end;       /* ALIA_CHAT_... */
    const char* tools; /* JSON: a list of tools, as the template takes them; empty: none */
    uint64_t tools_length;
    const char* variables; /* JSON: an object of further variables, such as {"enable_thinking": false}; empty: none */
    uint64_t variables_length;
    const char* template_name; /* of several; empty: "tool_use" where there are tools and such a one, else "default" */
    uint64_t template_name_length;
    int64_t now; /* the time that templates may show, in seconds since 1970, shifted to its time zone; -1: the system's
                    clock, UTC */
} alia_chat_options;
#define ALIA_CHAT_OPTIONS_INIT \
    { (uint32_t)sizeof(alia_chat_options), ALIA_CHAT_ANSWER, NULL, 0, NULL, 0, NULL, 0, -1 }

/* The text of a conversation: what the template makes of `messages`, JSON, a list of objects with at least a "role";
 * "content" (a text, null, or a list of parts), "name", "tool_calls", "tool_call_id" and whatever else the template
 * takes stand beside it. Owned: free with alia_text_free. Encoding this text would make special tokens of what users
 * wrote: alia_chat_encode does not. Errors: ALIA_INVALID_ARGUMENT (the messages or options, or what the template
 * refuses in them, with its words, line and column), ALIA_MALFORMED (the JSON, or the template, with line and column),
 * ALIA_UNSUPPORTED (the template uses what we do not know), ALIA_NOT_FOUND (no such template, or none at all),
 * ALIA_LIMIT, ALIA_NO_TOKENIZER. */
ALIA_API alia_status alia_chat_render(alia_model* model, const char* messages, uint64_t messages_length,
                                      const alia_chat_options* options, char** text, uint64_t* length);

/* The same as tokens. Special tokens come only from the template's own words: no byte of messages, tools or variables
 * is ever part of one, except that a "role" such as user or assistant counts as the template's. One BOS stands first
 * where the template or the tokenizer puts one. Owned: free with alia_ids_free. Errors: as above. */
ALIA_API alia_status alia_chat_encode(alia_model* model, const char* messages, uint64_t messages_length,
                                      const alia_chat_options* options, int32_t** ids, uint64_t* id_count);

/* Tokens that end an assistant's turn, as far as the model can draw them, possibly none: for alia_request_options'
 * `stop`, beside the model's own end tokens. Owned: free with alia_ids_free. Errors: ALIA_NO_TOKENIZER. */
ALIA_API alia_status alia_chat_stops(alia_model* model, int32_t** ids, uint64_t* id_count);

/* ---- Engines ---- */

typedef struct alia_engine alia_engine;

/* Formats of the KV cache. */
enum {
    ALIA_CACHE_AUTO = 0, /* what the device prefers */
    ALIA_CACHE_F32 = 1,
    ALIA_CACHE_F16 = 2,
    ALIA_CACHE_BF16 = 3,
    ALIA_CACHE_Q8_0 = 4, /* 8 bits and a scale for 32; where the head dimension is a multiple of 32. CPU devices */
    ALIA_CACHE_FP8 = 5   /* the same in E4M3. CUDA devices */
};

typedef struct alia_engine_options {
    uint32_t size;
    int32_t cache;      /* ALIA_CACHE_... */
    int64_t context;    /* positions of the longest sequence, at least 1 */
    int32_t chunk;      /* tokens that one step processes at most, beside one of each running sequence; at least 1 */
    int32_t logit_rows; /* rows of prompt logits that one step computes at most, at least 1 */
    int32_t threads;    /* 0: as the model's */
    int32_t sequences;  /* that run at once; other requests wait. At least 1 */
    int64_t positions;  /* that the KV cache holds for all sequences together, at least `context`; 0: as `context` */
    int32_t queue;      /* requests that wait at most, at least 1 */
    uint32_t zero;
} alia_engine_options;
#define ALIA_ENGINE_OPTIONS_INIT \
    { (uint32_t)sizeof(alia_engine_options), ALIA_CACHE_AUTO, 4096, 256, 32, 0, 16, 0, 1 << 20, 0 }

/* An engine with a KV cache of its own; several engines of one model run side by side. It keeps the model alive. Owned:
 * free with alia_engine_free. Errors: ALIA_INVALID_ARGUMENT (options, or a model opened without its weights),
 * ALIA_OUT_OF_MEMORY. */
ALIA_API alia_status alia_engine_open(alia_model* model, const alia_engine_options* options, alia_engine** engine);

/* The handle ends at once, and with it what its events lent; requests end without events. A call that runs in another
 * thread finishes and gives ALIA_BAD_HANDLE. NULL is fine. Allowed on an engine that can no longer be used.
 * ALIA_BAD_HANDLE: nothing happened. */
ALIA_API alia_status alia_engine_free(alia_engine* engine);

/* Flags of a request. */
enum {
    ALIA_REQUEST_IGNORE_EOS = 1,    /* the model's own end tokens do not end it */
    ALIA_REQUEST_PROMPT_LOGITS = 2, /* the logits of every position of the prompt come as events */
    ALIA_REQUEST_PROMPT_SCORES = 4, /* the log-probability of every token of the prompt but the first comes as events */
    ALIA_REQUEST_NORMALISE = 8,     /* an embedding has length 1 */
    ALIA_REQUEST_CHOOSE = 16,       /* the logits of each row to draw from come as an event, and the request waits for
                                       alia_engine_choose */
    ALIA_REQUEST_DO_NOT_SHARE = 32  /* pages of the cache are not shared with other requests that begin alike */
};

/* What is made of the last hidden states (after the final norm) of the prompt's tokens, as an event. */
enum { ALIA_POOLING_NONE = 0, ALIA_POOLING_MEAN = 1, ALIA_POOLING_LAST = 2 };

/* Candidates are treated in this order: penalties and bias, temperature, top-k, top-p, min-p; then one is drawn.
 * Numbers drawn follow from seed and position alone: the same request gives the same tokens, whatever runs beside it.
 * -1 in a sampling field that says so stands for the checkpoint's generation_config.json and, where that says nothing,
 * for greedy. */
typedef struct alia_request_options {
    uint32_t size;
    uint32_t flags;     /* ALIA_REQUEST_... */
    int64_t max_tokens; /* to generate; -1: until something else ends it; 0: only what is told of the prompt */
    double temperature; /* 0: always the best token; -1: the checkpoint's */
    double top_p;       /* the smallest set of best tokens whose probability reaches it; 1: off; -1: the checkpoint's */
    double min_p;       /* tokens of at least this share of the best one's probability; 0: off; -1: the checkpoint's */
    double repetition_penalty; /* divides positive logits of tokens seen so far; 1: off; -1: the checkpoint's */
    double frequency_penalty;  /* taken off once for each time that the token was generated */
    double presence_penalty;   /* taken off once if it was generated */
    int32_t top_k;             /* the best so many tokens; 0: off; -1: the checkpoint's */
    uint32_t stop_count;
    const int32_t* stop;       /* [stop_count] tokens of the vocabulary that end it besides the model's own */
    const int32_t* bias_token; /* [bias_count] tokens whose logits are changed, none twice */
    const float* bias;         /* [bias_count] added to them: -1e9 to 1e9, or -INFINITY to forbid */
    uint64_t bias_count;
    uint64_t seed;
    int64_t min_tokens;           /* until so many are generated, nothing that would end the answer is drawn */
    const char* const* stop_text; /* [stop_text_count] texts of 1 to 1,024 bytes that end it wherever tokens cut them;
                                     they are not shown, and what may begin one is held back. At most 64 */
    const uint64_t* stop_text_length; /* [stop_text_count] bytes of each */
    uint64_t stop_text_count;
    int32_t completions; /* of one prompt, whose pages they share: 1 to 128; number i draws with seed + i */
    int32_t priority;    /* higher ones run first and are preempted last */
    int32_t top_tokens;  /* log-probabilities: -1 none, 0 of the chosen token, n (up to 20) also of the n best */
    int32_t pooling;     /* ALIA_POOLING_... ; best with max_tokens 0 */
    int64_t deadline;    /* milliseconds, up to 2^40, from now until it ends with ALIA_FINISH_DEADLINE; -1: none */
    /* Where a sequence has as many tokens as the context has positions: with context_last 0 it ends; otherwise the
     * first context_first and the last context_last tokens stay and the last ones are processed again. */
    int64_t context_first;
    int64_t context_last;
    uint64_t sequence; /* the resident sequence that it continues; 0: one of its own. Not with several completions */
    const char* salt;  /* pages are shared only with requests of the same salt, a tenant's name, say */
    uint64_t salt_length;
} alia_request_options;
#define ALIA_REQUEST_OPTIONS_INIT                                                                                    \
    {                                                                                                                \
        (uint32_t)sizeof(alia_request_options), 0, -1, -1, -1, -1, -1, 0, 0, -1, 0, NULL, NULL, NULL, 0, 0, 0, NULL, \
            NULL, 0, 1, 0, -1, ALIA_POOLING_NONE, -1, 0, 0, 0, NULL, 0                                               \
    }

/* Queues a prompt and gives the request's number, from 1. The prompt has at least one token, or none where it continues
 * a resident sequence that has some. Never waits for a step. Errors: ALIA_INVALID_ARGUMENT (a field, or a token out of
 * range), ALIA_CONTEXT_FULL (the prompt is longer than the context), ALIA_LIMIT (the queue is full), ALIA_NOT_FOUND (no
 * such sequence), ALIA_BUSY (a request runs on it), ALIA_NO_TOKENIZER (stop_text), ALIA_DEVICE_LOST. */
ALIA_API alia_status alia_engine_submit(alia_engine* engine, const int32_t* ids, uint64_t id_count,
                                        const alia_request_options* options, uint64_t* request);

/* What an event tells. */
enum {
    ALIA_EVENT_TOKEN = 1,    /* request, completion, token, position, text; logprob and top where they were asked for */
    ALIA_EVENT_LOGITS = 2,   /* request, position, values [rows][columns]: the prompt's logits from that position on */
    ALIA_EVENT_FINISHED = 3, /* its last: request, completion, finish, position, text (the rest), prompt_tokens,
                                generated_tokens, cached_tokens; status and message where it failed */
    ALIA_EVENT_SCORES = 4,   /* request, position, values [1][columns]: natural logarithms of the probabilities of the
                                prompt's tokens from that position on */
    ALIA_EVENT_EMBEDDING = 5, /* request, values [1][columns] */
    ALIA_EVENT_CHOICE = 6     /* request, completion, position, values [1][columns]: answer with alia_engine_choose */
};

/* Why a request, or one of its completions, finished. */
enum {
    ALIA_FINISH_NONE = 0,
    ALIA_FINISH_STOP = 1,    /* the model's end token, or one of `stop` or `stop_text` */
    ALIA_FINISH_LENGTH = 2,  /* max_tokens */
    ALIA_FINISH_CONTEXT = 3, /* the context is full */
    ALIA_FINISH_CANCELLED = 4,
    ALIA_FINISH_DEADLINE = 5,
    ALIA_FINISH_ERROR = 6 /* this one failed, and others did not: `status` and `message` say why */
};

typedef struct alia_top_token { /* its layout never changes */
    int32_t token;
    float logprob; /* natural logarithm, after penalties and bias, at temperature 1 */
} alia_top_token;

/* Fields that a kind does not list are 0 or NULL, tokens -1. */
typedef struct alia_event {
    uint32_t size;
    int32_t kind; /* ALIA_EVENT_... */
    uint64_t request;
    int32_t token;
    int32_t finish;     /* ALIA_FINISH_... */
    int32_t rows;       /* of values */
    int32_t completion; /* from 0 */
    int64_t position;   /* token: its position in the sequence; logits, scores: the first row's or number's */
    const char* text; /* what can be shown by now: whole UTF-8, possibly nothing. Borrowed until the engine's next step
                         or its end; no NUL behind it */
    uint64_t text_length;
    const float* values; /* [rows][columns], rows one behind the other. Borrowed likewise */
    int64_t columns;
    int64_t prompt_tokens;
    int64_t generated_tokens;
    int64_t cached_tokens;     /* of the prompt, whose pages were in the cache already */
    const alia_top_token* top; /* [top_count], from the best down. Borrowed likewise */
    const char* message;       /* a sentence. Borrowed likewise; no NUL behind it */
    uint64_t message_length;
    uint32_t top_count;
    float logprob;  /* of the token, as in alia_top_token */
    int32_t status; /* why ALIA_FINISH_ERROR */
    uint32_t zero;
} alia_event;
#define ALIA_EVENT_INIT \
    { (uint32_t)sizeof(alia_event), 0, 0, -1, 0, 0, 0, 0, NULL, 0, NULL, 0, 0, 0, 0, NULL, NULL, 0, 0, 0, 0, 0 }

/* Pull mode: runs one bounded step, at most one pass of generated tokens and one of prompt tokens, and writes its
 * events to events[0 .. *count - 1]. `events` has room for `capacity` of them, at least 1, each with its `size` set,
 * all alike. Events for which there is no room come with the next call, which then computes nothing. A step in the
 * middle of a prompt has no events: ask alia_engine_idle, or wait for the finished event. What events lend stays valid
 * until the next call of this function on this engine, from any thread. A request that fails ends with
 * ALIA_FINISH_ERROR and disturbs no other. Errors: where a whole pass fails (ALIA_OUT_OF_MEMORY, ALIA_INTERNAL), every
 * request is as before it, and the next step tries again; after ALIA_DEVICE_LOST the engine can only be freed, and
 * alia_error_handle_usable() is 0. ALIA_BUSY while the engine runs in the background. */
ALIA_API alia_status alia_engine_step(alia_engine* engine, alia_event* events, uint32_t capacity, uint32_t* count);

/* Ends a request, all of its completions; their finished events come with the next step. Never waits for a step that
 * runs. ALIA_NOT_FOUND where no such request is waiting or running. */
ALIA_API alia_status alia_engine_cancel(alia_engine* engine, uint64_t request);

/* Answers a choice event with the logits of its position, `count` of them (the vocabulary), as the caller wants them;
 * copied. The draw comes with the next step, penalties and bias included. Never waits for a step. Errors:
 * ALIA_NOT_FOUND (no completion of this request waits for one), ALIA_INVALID_ARGUMENT (the count). */
ALIA_API alia_status alia_engine_choose(alia_engine* engine, uint64_t request, int32_t completion, const float* logits,
                                        uint64_t count);

/* 1 where a step would have nothing to do and no event to give, else 0: no request is waiting or running, or each waits
 * for alia_engine_choose. Never waits for a step. */
ALIA_API alia_status alia_engine_idle(alia_engine* engine, int32_t* idle);

/* Background mode: a thread of the library steps whenever there is something to do. Its events are those of
 * alia_engine_step, in the same order. While 4,096 of them, or logits of 64 MiB, wait to be taken it pauses. Waits for
 * a step that runs in another thread. ALIA_BUSY where it runs already; ALIA_OUT_OF_MEMORY. */
ALIA_API alia_status alia_engine_start(alia_engine* engine);

/* Waits until events are there or `milliseconds`, up to 2^40, are over (0: not at all; -1: without end), and hands them
 * out as alia_engine_step does, *count of them, possibly none. What they lend stays valid until the next call of this
 * function. Several threads may call it; each event goes to one of them, and then what an event lends ends with any
 * one's next call. Errors: those of a step, once, after the events that came before it; ALIA_BUSY where the engine does
 * not run in the background and has no event left. */
ALIA_API alia_status alia_engine_next(alia_engine* engine, alia_event* events, uint32_t capacity, int64_t milliseconds,
                                      uint32_t* count);

/* Ends background mode once the step that runs is done. Requests stay, and so do events that were not taken:
 * alia_engine_next or alia_engine_step gives them. Nothing happens where it does not run. */
ALIA_API alia_status alia_engine_stop(alia_engine* engine);

/* What an engine has done and holds: a JSON object with "steps", "passes", "prompt_tokens", "generated_tokens",
 * "cached_tokens", "preemptions", "evictions", "rows_fetched", "step_seconds", "model_seconds" (since it was opened),
 * and "running", "waiting", "pages", "pages_free", "pages_cached" (now). Members are only ever added. Never waits for a
 * step. Owned: free with alia_text_free. */
ALIA_API alia_status alia_engine_counters(alia_engine* engine, char** json, uint64_t* length);

/* ---- Resident sequences ---- */

/* A sequence outlives requests: a request that names one continues it, and its tokens stay there with their pages, so
 * that what has not changed is not processed again. Where pages run out, those of sequences that nobody runs on are
 * taken; their tokens are then processed again, to the same bits. The functions below wait for a step that runs in
 * another thread. Errors of all: ALIA_NOT_FOUND (no such sequence), ALIA_BUSY (a request runs on it). */

/* An empty one; its number, from 1. */
ALIA_API alia_status alia_sequence_new(alia_engine* engine, uint64_t* sequence);
/* A copy, which shares its pages. */
ALIA_API alia_status alia_sequence_fork(alia_engine* engine, uint64_t sequence, uint64_t* copy);
/* Forgets every token from `length` on. ALIA_INVALID_ARGUMENT beyond its length. */
ALIA_API alia_status alia_sequence_truncate(alia_engine* engine, uint64_t sequence, int64_t length);
/* Makes a sequence the start of a prompt: keeps the tokens that both begin with and forgets the others. What is left to
 * submit for it is ids + *kept, possibly nothing. So a conversation whose every turn is encoded as a whole is processed
 * from the first changed token on. */
ALIA_API alia_status alia_sequence_keep(alia_engine* engine, uint64_t sequence, const int32_t* ids, uint64_t id_count,
                                        uint64_t* kept);
/* Its tokens. Owned: free with alia_ids_free; never NULL. */
ALIA_API alia_status alia_sequence_tokens(alia_engine* engine, uint64_t sequence, int32_t** ids, uint64_t* id_count);
ALIA_API alia_status alia_sequence_free(alia_engine* engine, uint64_t sequence);

/* Its tokens, and K and V of its full pages, as bytes: checksummed, and bound to the model's numbers and shape, the
 * cache's format and the device's kernels. Owned: free with alia_bytes_free. */
ALIA_API alia_status alia_sequence_save(alia_engine* engine, uint64_t sequence, void** bytes, uint64_t* length);
/* A new sequence from saved bytes, on an engine of the same model, cache format and kernels. Errors, naming the part:
 * ALIA_TRUNCATED, ALIA_MALFORMED (altered), ALIA_UNSUPPORTED (another model, format, kernels or version),
 * ALIA_CONTEXT_FULL. */
ALIA_API alia_status alia_sequence_restore(alia_engine* engine, const void* bytes, uint64_t length, uint64_t* sequence);
/* The same in a file. It takes its name once it is whole; after a failure nothing is left of it. ALIA_NOT_FOUND and
 * ALIA_IO of the file, which they name. */
ALIA_API alia_status alia_sequence_save_file(alia_engine* engine, uint64_t sequence, const char* path,
                                             uint64_t path_length);
ALIA_API alia_status alia_sequence_restore_file(alia_engine* engine, const char* path, uint64_t path_length,
                                                uint64_t* sequence);

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

/* What libalia offers and does not promise yet: these functions may change with any release. The rules of capi/alia.h
 * hold for them too. */
#ifndef ALIA_UNSTABLE_H
#define ALIA_UNSTABLE_H
#include "alia.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Devices ---- */

/* What a device reaches in loops that do nothing else, the scale for any measurement of a model on it: a JSON object
 * with "device", "read" and "copy" (bytes a second of memory far larger than the caches, a copy counting each byte
 * once), "upload" (likewise, of pinned host memory to a card; 0: it is no card), and "f32", "int8", "bf16" and "e4m3"
 * (multiply-adds a second; 0 where it has no such instruction). `device` and `threads` are as in alia_model_options.
 * Takes about a second, 256 MiB (of a card 1 GiB, and 64 MiB of the host) and the whole device: nothing else should run
 * meanwhile. Owned: free with alia_text_free. Errors: ALIA_INVALID_ARGUMENT, ALIA_DEVICE_UNAVAILABLE,
 * ALIA_OUT_OF_MEMORY. */
ALIA_API alia_status alia_device_roofs(const char* device, uint64_t device_length, int32_t threads, char** json,
                                       uint64_t* length);

/* How fast a model's weights can be read where they lie, by as many threads as it was opened with, in a loop that does
 * nothing else: `rate` becomes bytes a second (0 on the reference device). Takes some 20 ms, or as long as reading them
 * once, and the whole device: between two generated tokens it is what their speed is measured by. Errors:
 * ALIA_INVALID_ARGUMENT (an argument, or a model opened without its weights), ALIA_OUT_OF_MEMORY. */
ALIA_API alia_status alia_model_read_rate(alia_model* model, double* rate);

/* Every device that this library knows here, those that cannot be opened too: a JSON object with "devices" (the best
 * first, each with "name" as alia_model_options takes it, "usable", "reason" where it is not, and of a card "title" and
 * "memory_bytes"), "auto" (the name that "auto" stands for), "threads" (of CPU devices where none are asked for),
 * "processors": "online" (that the machine has), "affinity" (of them, in this process's mask; 0: unknown) and "quota"
 * (how many's time its control group allows; 0: no limit), and "cuda": "built" (into this library), "driver" and
 * "runtime" (the newest CUDA of the driver and the one of this library, such as "12.4"; null: none) and, where there
 * are no cards, "reason". Opens no device. Owned: free with alia_text_free. Errors: ALIA_OUT_OF_MEMORY. */
ALIA_API alia_status alia_devices(char** json, uint64_t* length);

/* ---- Models without files ----
 *
 * Where alia_model_open and alia_plan take a path they also take "synthetic:SHAPE:TYPE" and
 * "synthetic:SHAPE:TYPE:LAYERS", for measurements: SHAPE is alia-40b, salamandra-7b, salamandra-2b or tiny, TYPE a
 * format's name in any case (such as bf16, fp8, q8_0 or q4_0) that every matrix has, LAYERS fewer layers than the
 * shape's. Weights are drawn at random on the device; nothing is read. Such a model has no tokenizer. Errors:
 * ALIA_INVALID_ARGUMENT (the name), ALIA_UNSUPPORTED (rows that are no whole blocks of the format). */

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

#ifdef __cplusplus
}
#endif
#endif

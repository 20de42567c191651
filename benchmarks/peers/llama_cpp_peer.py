"""llama.cpp for the comparison, through llama-cpp-python's low-level interface, the way its own benchmark drives it: whole
batches, logits of the last token alone, weights repacked at load, given tokens fed without sampling."""
import time

import llama_cpp as c

from common import token_ids

MODES = {"none": c.LLAMA_LOAD_MODE_NONE, "mmap": c.LLAMA_LOAD_MODE_MMAP}
FLASH = {"flash": c.LLAMA_FLASH_ATTN_TYPE_ENABLED, "plain": c.LLAMA_FLASH_ATTN_TYPE_DISABLED}


@c.llama_log_callback
def silent(_level, _text, _user):
    pass


class LlamaCpp:
    def __init__(self, o):
        c.llama_log_set(silent, None)
        c.llama_backend_init()
        options = c.llama_model_default_params()
        options.load_mode, options.use_extra_bufts, options.n_gpu_layers = MODES[o["peer_load"]], True, 0
        start = time.perf_counter()
        self.model = c.llama_model_load_from_file(o["file"].encode(), options)
        self.load_seconds = time.perf_counter() - start
        if not self.model:
            raise RuntimeError(f"{o['file']}: llama.cpp does not load it")
        self.vocabulary = c.llama_vocab_n_tokens(c.llama_model_get_vocab(self.model))
        self.threads = o["threads"]
        self.variants = list(FLASH) if o["flash"] == "best" else [o["flash"]]
        self.short = {v: self.open_context(o["short"] + 2, v) for v in self.variants}
        self.long = {v: self.open_context(o["long"] + 2, v) for v in self.variants} if o["long"] else {}

    def name(self):
        return f"llama-cpp-python {c.__version__}"

    def open_context(self, positions, variant):
        options = c.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = positions, 512, 512
        options.n_threads = options.n_threads_batch = self.threads
        options.flash_attn_type = FLASH[variant]
        context = c.llama_init_from_model(self.model, options)
        if not context:
            raise RuntimeError("llama.cpp opens no context")
        return context

    def decode(self, context, ids):
        for first in range(0, len(ids), 512):
            part = ids[first:first + 512]
            tokens = (c.llama_token * len(part))(*part)  # the batch borrows it
            if c.llama_decode(context, c.llama_batch_get_one(tokens, len(part))) != 0:
                raise RuntimeError("llama_decode failed")
        c.llama_synchronize(context)

    def timed(self, context, ids, at_once):
        start = time.perf_counter()
        if at_once:
            self.decode(context, ids)
        else:
            for token in ids:
                self.decode(context, [token])
        return time.perf_counter() - start

    def clear(self, context):
        c.llama_memory_clear(c.llama_get_memory(context), False)

    # The measurements; each gives seconds.

    def prompt(self, tokens, variant):
        self.clear(self.short[variant])
        return self.timed(self.short[variant], token_ids(tokens, self.vocabulary), True)

    def generate(self, tokens, variant):
        self.clear(self.short[variant])
        ids = token_ids(tokens + 1, self.vocabulary)
        self.decode(self.short[variant], ids[:1])
        return self.timed(self.short[variant], ids[1:], False)

    def fill(self, tokens, variant):
        return self.timed(self.long[variant], token_ids(tokens, self.vocabulary), True)

    def generate_on(self, tokens, variant):
        return self.timed(self.long[variant], token_ids(tokens, self.vocabulary), False)

//! The declarations of `capi/alia.h`, which documents them. `tests/declarations.py` holds them against it.
#![allow(non_camel_case_types)]
use std::mem::size_of;
use std::os::raw::{c_char, c_void};
use std::ptr::{null, null_mut};

pub const ALIA_ABI_MAJOR: u32 = 1;
pub const ALIA_ABI_MINOR: u32 = 1;
pub const ALIA_ABI_VERSION: u32 = ALIA_ABI_MAJOR << 16 | ALIA_ABI_MINOR;

pub type alia_status = i32;
pub const ALIA_OK: i32 = 0;
pub const ALIA_INVALID_ARGUMENT: i32 = 1;
pub const ALIA_NOT_FOUND: i32 = 2;
pub const ALIA_IO: i32 = 3;
pub const ALIA_TRUNCATED: i32 = 4;
pub const ALIA_MALFORMED: i32 = 5;
pub const ALIA_DUPLICATE: i32 = 6;
pub const ALIA_OVERLAP: i32 = 7;
pub const ALIA_MISSING: i32 = 8;
pub const ALIA_SHAPE: i32 = 9;
pub const ALIA_UNSUPPORTED: i32 = 10;
pub const ALIA_LIMIT: i32 = 11;
pub const ALIA_OUT_OF_MEMORY: i32 = 12;
pub const ALIA_NO_TOKENIZER: i32 = 13;
pub const ALIA_CONTEXT_FULL: i32 = 14;
pub const ALIA_DEVICE_UNAVAILABLE: i32 = 15;
pub const ALIA_DEVICE_LOST: i32 = 16;
pub const ALIA_BAD_HANDLE: i32 = 17;
pub const ALIA_BUSY: i32 = 18;
pub const ALIA_CANCELLED: i32 = 19;
pub const ALIA_INTERNAL: i32 = 20;

pub const ALIA_LOAD_ALL: i32 = 0;
pub const ALIA_LOAD_TEXT: i32 = 1;
pub const ALIA_LOAD_HEADERS: i32 = 2;

pub const ALIA_MODEL_PIN_THREADS: u32 = 1;

pub const ALIA_PART_LITERAL: i32 = 0;
pub const ALIA_PART_TRUSTED: i32 = 1;

pub const ALIA_ENCODE_ADD_SPECIAL: u32 = 1;

pub const ALIA_DECODE_KEEP_SPECIAL: u32 = 1;

pub const ALIA_CHAT_ANSWER: i32 = 0;
pub const ALIA_CHAT_CONTINUE: i32 = 1;
pub const ALIA_CHAT_CLOSED: i32 = 2;

pub const ALIA_CACHE_AUTO: i32 = 0;
pub const ALIA_CACHE_F32: i32 = 1;
pub const ALIA_CACHE_F16: i32 = 2;
pub const ALIA_CACHE_BF16: i32 = 3;
pub const ALIA_CACHE_Q8_0: i32 = 4;
pub const ALIA_CACHE_FP8: i32 = 5;

pub const ALIA_REQUEST_IGNORE_EOS: u32 = 1;
pub const ALIA_REQUEST_PROMPT_LOGITS: u32 = 2;
pub const ALIA_REQUEST_PROMPT_SCORES: u32 = 4;
pub const ALIA_REQUEST_NORMALISE: u32 = 8;
pub const ALIA_REQUEST_CHOOSE: u32 = 16;
pub const ALIA_REQUEST_DO_NOT_SHARE: u32 = 32;

pub const ALIA_POOLING_NONE: i32 = 0;
pub const ALIA_POOLING_MEAN: i32 = 1;
pub const ALIA_POOLING_LAST: i32 = 2;

pub const ALIA_EVENT_TOKEN: i32 = 1;
pub const ALIA_EVENT_LOGITS: i32 = 2;
pub const ALIA_EVENT_FINISHED: i32 = 3;
pub const ALIA_EVENT_SCORES: i32 = 4;
pub const ALIA_EVENT_EMBEDDING: i32 = 5;
pub const ALIA_EVENT_CHOICE: i32 = 6;

pub const ALIA_FINISH_NONE: i32 = 0;
pub const ALIA_FINISH_STOP: i32 = 1;
pub const ALIA_FINISH_LENGTH: i32 = 2;
pub const ALIA_FINISH_CONTEXT: i32 = 3;
pub const ALIA_FINISH_CANCELLED: i32 = 4;
pub const ALIA_FINISH_DEADLINE: i32 = 5;
pub const ALIA_FINISH_ERROR: i32 = 6;

/// Known through its handle only.
#[repr(C)]
pub struct alia_model {
    _opaque: [u8; 0],
}

/// Known through its handle only.
#[repr(C)]
pub struct alia_engine {
    _opaque: [u8; 0],
}

pub type alia_progress_callback =
    Option<unsafe extern "C" fn(user: *mut c_void, progress: *const alia_progress) -> i32>;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_progress {
    pub size: u32,
    pub zero: u32,
    pub phase: *const c_char,
    pub done: i64,
    pub total: i64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_model_options {
    pub size: u32,
    pub load: i32,
    pub device: *const c_char,
    pub device_length: u64,
    pub threads: i32,
    pub flags: u32,
    pub json_bytes: u64,
    pub progress: alia_progress_callback,
    pub user: *mut c_void,
}

pub const ALIA_MODEL_OPTIONS_INIT: alia_model_options = alia_model_options {
    size: size_of::<alia_model_options>() as u32,
    load: 0,
    device: null(),
    device_length: 0,
    threads: 0,
    flags: 0,
    json_bytes: 0,
    progress: None,
    user: null_mut(),
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_memory_file {
    pub size: u32,
    pub zero: u32,
    pub name: *const c_char,
    pub name_length: u64,
    pub bytes: *const c_void,
    pub length: u64,
}

pub const ALIA_MEMORY_FILE_INIT: alia_memory_file = alia_memory_file {
    size: size_of::<alia_memory_file>() as u32,
    zero: 0,
    name: null(),
    name_length: 0,
    bytes: null(),
    length: 0,
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_reader {
    pub size: u32,
    pub zero: u32,
    pub file_size: Option<unsafe extern "C" fn(user: *mut c_void, name: *const c_char, name_length: u64) -> i64>,
    pub read: Option<
        unsafe extern "C" fn(
            user: *mut c_void,
            name: *const c_char,
            name_length: u64,
            offset: i64,
            to: *mut c_void,
            length: u64,
        ) -> i32,
    >,
    pub user: *mut c_void,
}

pub const ALIA_READER_INIT: alia_reader = alia_reader {
    size: size_of::<alia_reader>() as u32,
    zero: 0,
    file_size: None,
    read: None,
    user: null_mut(),
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_text_part {
    pub size: u32,
    pub kind: i32,
    pub text: *const c_char,
    pub length: u64,
}

pub const ALIA_TEXT_PART_INIT: alia_text_part = alia_text_part {
    size: size_of::<alia_text_part>() as u32,
    kind: 0,
    text: null(),
    length: 0,
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_engine_options {
    pub size: u32,
    pub cache: i32,
    pub context: i64,
    pub chunk: i32,
    pub logit_rows: i32,
    pub threads: i32,
    pub sequences: i32,
    pub positions: i64,
    pub queue: i32,
    pub zero: u32,
}

pub const ALIA_ENGINE_OPTIONS_INIT: alia_engine_options = alia_engine_options {
    size: size_of::<alia_engine_options>() as u32,
    cache: 0,
    context: 4096,
    chunk: 256,
    logit_rows: 32,
    threads: 0,
    sequences: 16,
    positions: 0,
    queue: 1048576,
    zero: 0,
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_request_options {
    pub size: u32,
    pub flags: u32,
    pub max_tokens: i64,
    pub temperature: f64,
    pub top_p: f64,
    pub min_p: f64,
    pub repetition_penalty: f64,
    pub frequency_penalty: f64,
    pub presence_penalty: f64,
    pub top_k: i32,
    pub stop_count: u32,
    pub stop: *const i32,
    pub bias_token: *const i32,
    pub bias: *const f32,
    pub bias_count: u64,
    pub seed: u64,
    pub min_tokens: i64,
    pub stop_text: *const *const c_char,
    pub stop_text_length: *const u64,
    pub stop_text_count: u64,
    pub completions: i32,
    pub priority: i32,
    pub top_tokens: i32,
    pub pooling: i32,
    pub deadline: i64,
    pub context_first: i64,
    pub context_last: i64,
    pub sequence: u64,
    pub salt: *const c_char,
    pub salt_length: u64,
}

pub const ALIA_REQUEST_OPTIONS_INIT: alia_request_options = alia_request_options {
    size: size_of::<alia_request_options>() as u32,
    flags: 0,
    max_tokens: -1,
    temperature: -1.0,
    top_p: -1.0,
    min_p: -1.0,
    repetition_penalty: -1.0,
    frequency_penalty: 0.0,
    presence_penalty: 0.0,
    top_k: -1,
    stop_count: 0,
    stop: null(),
    bias_token: null(),
    bias: null(),
    bias_count: 0,
    seed: 0,
    min_tokens: 0,
    stop_text: null(),
    stop_text_length: null(),
    stop_text_count: 0,
    completions: 1,
    priority: 0,
    top_tokens: -1,
    pooling: 0,
    deadline: -1,
    context_first: 0,
    context_last: 0,
    sequence: 0,
    salt: null(),
    salt_length: 0,
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_top_token {
    pub token: i32,
    pub logprob: f32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_event {
    pub size: u32,
    pub kind: i32,
    pub request: u64,
    pub token: i32,
    pub finish: i32,
    pub rows: i32,
    pub completion: i32,
    pub position: i64,
    pub text: *const c_char,
    pub text_length: u64,
    pub values: *const f32,
    pub columns: i64,
    pub prompt_tokens: i64,
    pub generated_tokens: i64,
    pub cached_tokens: i64,
    pub top: *const alia_top_token,
    pub message: *const c_char,
    pub message_length: u64,
    pub top_count: u32,
    pub logprob: f32,
    pub status: i32,
    pub zero: u32,
}

pub const ALIA_EVENT_INIT: alia_event = alia_event {
    size: size_of::<alia_event>() as u32,
    kind: 0,
    request: 0,
    token: -1,
    finish: 0,
    rows: 0,
    completion: 0,
    position: 0,
    text: null(),
    text_length: 0,
    values: null(),
    columns: 0,
    prompt_tokens: 0,
    generated_tokens: 0,
    cached_tokens: 0,
    top: null(),
    message: null(),
    message_length: 0,
    top_count: 0,
    logprob: 0.0,
    status: 0,
    zero: 0,
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_chat_options {
    pub size: u32,
    pub end: i32,
    pub tools: *const c_char,
    pub tools_length: u64,
    pub variables: *const c_char,
    pub variables_length: u64,
    pub template_name: *const c_char,
    pub template_name_length: u64,
    pub now: i64,
}

pub const ALIA_CHAT_OPTIONS_INIT: alia_chat_options = alia_chat_options {
    size: size_of::<alia_chat_options>() as u32,
    end: 0,
    tools: null(),
    tools_length: 0,
    variables: null(),
    variables_length: 0,
    template_name: null(),
    template_name_length: 0,
    now: -1,
};

#[repr(C)]
#[derive(Clone, Copy)]
pub struct alia_quantize_options {
    pub size: u32,
    pub threads: i32,
    pub imatrix: *const c_char,
    pub imatrix_length: u64,
    pub progress: alia_progress_callback,
    pub user: *mut c_void,
}

pub const ALIA_QUANTIZE_OPTIONS_INIT: alia_quantize_options = alia_quantize_options {
    size: size_of::<alia_quantize_options>() as u32,
    threads: 0,
    imatrix: null(),
    imatrix_length: 0,
    progress: None,
    user: null_mut(),
};

extern "C" {
    pub fn alia_abi_version() -> u32;
    pub fn alia_version() -> *const c_char;
    pub fn alia_abi_check(abi: u32) -> alia_status;
    pub fn alia_error_status() -> alia_status;
    pub fn alia_error_message() -> *const c_char;
    pub fn alia_error_item() -> *const c_char;
    pub fn alia_error_offset() -> i64;
    pub fn alia_error_handle_usable() -> i32;
    pub fn alia_status_name(status: alia_status) -> *const c_char;
    pub fn alia_text_free(text: *mut c_char);
    pub fn alia_ids_free(ids: *mut i32);
    pub fn alia_bytes_free(bytes: *mut c_void);
    pub fn alia_model_open(
        path: *const c_char,
        path_length: u64,
        options: *const alia_model_options,
        model: *mut *mut alia_model,
    ) -> alia_status;
    pub fn alia_model_open_memory(
        files: *const alia_memory_file,
        file_count: u64,
        options: *const alia_model_options,
        model: *mut *mut alia_model,
    ) -> alia_status;
    pub fn alia_model_open_reader(
        reader: *const alia_reader,
        name: *const c_char,
        name_length: u64,
        options: *const alia_model_options,
        model: *mut *mut alia_model,
    ) -> alia_status;
    pub fn alia_model_options_set(
        options: *mut alia_model_options,
        name: *const c_char,
        name_length: u64,
        value: *const c_char,
        value_length: u64,
    ) -> alia_status;
    pub fn alia_engine_options_set(
        options: *mut alia_engine_options,
        name: *const c_char,
        name_length: u64,
        value: *const c_char,
        value_length: u64,
    ) -> alia_status;
    pub fn alia_request_options_set(
        options: *mut alia_request_options,
        name: *const c_char,
        name_length: u64,
        value: *const c_char,
        value_length: u64,
    ) -> alia_status;
    pub fn alia_model_free(model: *mut alia_model) -> alia_status;
    pub fn alia_model_info(model: *mut alia_model, json: *mut *mut c_char, length: *mut u64) -> alia_status;
    pub fn alia_plan(
        path: *const c_char,
        path_length: u64,
        model_options: *const alia_model_options,
        engine_options: *const alia_engine_options,
        json: *mut *mut c_char,
        length: *mut u64,
    ) -> alia_status;
    pub fn alia_model_encode(
        model: *mut alia_model,
        parts: *const alia_text_part,
        part_count: u64,
        flags: u32,
        ids: *mut *mut i32,
        id_count: *mut u64,
    ) -> alia_status;
    pub fn alia_model_decode(
        model: *mut alia_model,
        ids: *const i32,
        id_count: u64,
        flags: u32,
        text: *mut *mut c_char,
        length: *mut u64,
    ) -> alia_status;
    pub fn alia_model_token_bytes(
        model: *mut alia_model,
        token: i32,
        bytes: *mut *const c_char,
        length: *mut u64,
    ) -> alia_status;
    pub fn alia_model_token_find(
        model: *mut alia_model,
        text: *const c_char,
        length: u64,
        token: *mut i32,
    ) -> alia_status;
    pub fn alia_model_vocabulary(model: *mut alia_model, size: *mut i32) -> alia_status;
    pub fn alia_model_bos(model: *mut alia_model, token: *mut i32) -> alia_status;
    pub fn alia_model_eos(model: *mut alia_model, tokens: *mut *const i32, count: *mut u64) -> alia_status;
    pub fn alia_chat_render(
        model: *mut alia_model,
        messages: *const c_char,
        messages_length: u64,
        options: *const alia_chat_options,
        text: *mut *mut c_char,
        length: *mut u64,
    ) -> alia_status;
    pub fn alia_chat_encode(
        model: *mut alia_model,
        messages: *const c_char,
        messages_length: u64,
        options: *const alia_chat_options,
        ids: *mut *mut i32,
        id_count: *mut u64,
    ) -> alia_status;
    pub fn alia_chat_stops(model: *mut alia_model, ids: *mut *mut i32, id_count: *mut u64) -> alia_status;
    pub fn alia_engine_open(
        model: *mut alia_model,
        options: *const alia_engine_options,
        engine: *mut *mut alia_engine,
    ) -> alia_status;
    pub fn alia_engine_free(engine: *mut alia_engine) -> alia_status;
    pub fn alia_engine_submit(
        engine: *mut alia_engine,
        ids: *const i32,
        id_count: u64,
        options: *const alia_request_options,
        request: *mut u64,
    ) -> alia_status;
    pub fn alia_engine_step(
        engine: *mut alia_engine,
        events: *mut alia_event,
        capacity: u32,
        count: *mut u32,
    ) -> alia_status;
    pub fn alia_engine_cancel(engine: *mut alia_engine, request: u64) -> alia_status;
    pub fn alia_engine_choose(
        engine: *mut alia_engine,
        request: u64,
        completion: i32,
        logits: *const f32,
        count: u64,
    ) -> alia_status;
    pub fn alia_engine_idle(engine: *mut alia_engine, idle: *mut i32) -> alia_status;
    pub fn alia_engine_start(engine: *mut alia_engine) -> alia_status;
    pub fn alia_engine_next(
        engine: *mut alia_engine,
        events: *mut alia_event,
        capacity: u32,
        milliseconds: i64,
        count: *mut u32,
    ) -> alia_status;
    pub fn alia_engine_stop(engine: *mut alia_engine) -> alia_status;
    pub fn alia_engine_counters(engine: *mut alia_engine, json: *mut *mut c_char, length: *mut u64) -> alia_status;
    pub fn alia_sequence_new(engine: *mut alia_engine, sequence: *mut u64) -> alia_status;
    pub fn alia_sequence_fork(engine: *mut alia_engine, sequence: u64, copy: *mut u64) -> alia_status;
    pub fn alia_sequence_truncate(engine: *mut alia_engine, sequence: u64, length: i64) -> alia_status;
    pub fn alia_sequence_keep(
        engine: *mut alia_engine,
        sequence: u64,
        ids: *const i32,
        id_count: u64,
        kept: *mut u64,
    ) -> alia_status;
    pub fn alia_sequence_tokens(
        engine: *mut alia_engine,
        sequence: u64,
        ids: *mut *mut i32,
        id_count: *mut u64,
    ) -> alia_status;
    pub fn alia_sequence_free(engine: *mut alia_engine, sequence: u64) -> alia_status;
    pub fn alia_sequence_save(
        engine: *mut alia_engine,
        sequence: u64,
        bytes: *mut *mut c_void,
        length: *mut u64,
    ) -> alia_status;
    pub fn alia_sequence_restore(
        engine: *mut alia_engine,
        bytes: *const c_void,
        length: u64,
        sequence: *mut u64,
    ) -> alia_status;
    pub fn alia_sequence_save_file(
        engine: *mut alia_engine,
        sequence: u64,
        path: *const c_char,
        path_length: u64,
    ) -> alia_status;
    pub fn alia_sequence_restore_file(
        engine: *mut alia_engine,
        path: *const c_char,
        path_length: u64,
        sequence: *mut u64,
    ) -> alia_status;
    pub fn alia_quantize(
        source: *const c_char,
        source_length: u64,
        target: *const c_char,
        target_length: u64,
        r#type: *const c_char,
        type_length: u64,
        options: *const alia_quantize_options,
        json: *mut *mut c_char,
        length: *mut u64,
    ) -> alia_status;
}

//! Options of engines and requests.
use std::os::raw::c_char;
use std::sync::Arc;
use std::time::Duration;

use alia_sys as sys;

/// Formats of the KV cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    #[default]
    Auto,
    F32,
    F16,
    Bf16,
    Q8_0,
    Fp8,
}

#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Positions of the longest sequence.
    pub context: i64,
    pub cache: Cache,
    /// That run at once; other requests wait.
    pub sequences: i32,
    /// That the KV cache holds for all sequences together; 0: as `context`.
    pub positions: i64,
    /// Tokens of prompts that one step processes at most.
    pub chunk: i32,
    /// Rows of prompts' logits that one step computes at most.
    pub logit_rows: i32,
    /// 0: as the model's.
    pub threads: i32,
    /// Requests that wait at most.
    pub queue: i32,
}

impl Default for EngineOptions {
    fn default() -> Self {
        let o = sys::ALIA_ENGINE_OPTIONS_INIT;
        EngineOptions {
            context: o.context,
            cache: Cache::Auto,
            sequences: o.sequences,
            positions: o.positions,
            chunk: o.chunk,
            logit_rows: o.logit_rows,
            threads: o.threads,
            queue: o.queue,
        }
    }
}

impl EngineOptions {
    pub(crate) fn to_c(&self) -> sys::alia_engine_options {
        sys::alia_engine_options {
            cache: match self.cache {
                Cache::Auto => sys::ALIA_CACHE_AUTO,
                Cache::F32 => sys::ALIA_CACHE_F32,
                Cache::F16 => sys::ALIA_CACHE_F16,
                Cache::Bf16 => sys::ALIA_CACHE_BF16,
                Cache::Q8_0 => sys::ALIA_CACHE_Q8_0,
                Cache::Fp8 => sys::ALIA_CACHE_FP8,
            },
            context: self.context,
            chunk: self.chunk,
            logit_rows: self.logit_rows,
            threads: self.threads,
            sequences: self.sequences,
            positions: self.positions,
            queue: self.queue,
            ..sys::ALIA_ENGINE_OPTIONS_INIT
        }
    }
}

/// Called before each token is drawn, with the row of logits that the model gave, which is the library's own memory, and
/// the tokens that were generated so far. Returns the logits to draw from, or nothing for the model's own. It runs in
/// whichever thread steps the engine and must not use the engine; a panic ends the request and goes on in the thread that
/// takes its answer.
pub type Hook = Arc<dyn Fn(&[f32], &[i32]) -> Option<Vec<f32>> + Send + Sync>;

/// What ends an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Wherever tokens cut it; it is not shown.
    Text(String),
    Token(i32),
}

/// How a request is answered. `None` stands for the checkpoint's generation_config.json and, where that says nothing, for
/// greedy. The same request with the same seed gives the same tokens, whatever runs beside it.
#[derive(Clone)]
pub struct Options {
    /// To generate; otherwise until the answer or the context ends.
    pub max_tokens: Option<u32>,
    /// 0: always the best token.
    pub temperature: Option<f64>,
    /// The smallest set of best tokens whose probability reaches it.
    pub top_p: Option<f64>,
    /// The best so many tokens.
    pub top_k: Option<u32>,
    /// Tokens of at least this share of the best one's probability.
    pub min_p: Option<f64>,
    /// Divides positive logits of tokens seen so far.
    pub repetition_penalty: Option<f64>,
    /// Taken off once for each time that the token was generated.
    pub frequency_penalty: f64,
    /// Taken off once if it was generated.
    pub presence_penalty: f64,
    /// Added to the logits of these tokens; -inf forbids.
    pub bias: Vec<(i32, f32)>,
    pub seed: u64,
    pub stop: Vec<Stop>,
    /// The model's own end tokens do not end it.
    pub ignore_eos: bool,
    /// Until so many are generated, nothing ends the answer.
    pub min_tokens: u32,
    /// Of one prompt, for [`Engine::complete`](crate::Engine::complete); number i draws with seed + i.
    pub completions: u32,
    /// 0: the log-probability of each token; n, up to 20: also of the n best.
    pub logprobs: Option<u32>,
    pub hook: Option<Hook>,
    /// Higher ones run first.
    pub priority: i32,
    /// From now until it ends with [`Finish::Deadline`](crate::Finish::Deadline).
    pub deadline: Option<Duration>,
    /// Where the context is full, so many first and last tokens stay and the answer goes on.
    pub keep: Option<(u32, u32)>,
    /// Pages of the cache are shared with requests that begin alike,
    pub share: bool,
    /// and have the same salt.
    pub salt: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_tokens: None,
            temperature: None,
            top_p: None,
            top_k: None,
            min_p: None,
            repetition_penalty: None,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            bias: Vec::new(),
            seed: 0,
            stop: Vec::new(),
            ignore_eos: false,
            min_tokens: 0,
            completions: 1,
            logprobs: None,
            hook: None,
            priority: 0,
            deadline: None,
            keep: None,
            share: true,
            salt: String::new(),
        }
    }
}

/// What an alia_request_options points to.
#[derive(Default)]
pub(crate) struct Pointed {
    stop: Vec<i32>,
    stop_text: Vec<*const c_char>,
    stop_text_length: Vec<u64>,
    bias_token: Vec<i32>,
    bias: Vec<f32>,
}

impl Options {
    /// Borrows from these options and from `pointed`.
    pub(crate) fn to_c(&self, pointed: &mut Pointed) -> sys::alia_request_options {
        for stop in &self.stop {
            match stop {
                Stop::Token(token) => pointed.stop.push(*token),
                Stop::Text(text) => {
                    pointed.stop_text.push(text.as_ptr().cast());
                    pointed.stop_text_length.push(text.len() as u64);
                }
            }
        }
        pointed.bias_token.extend(self.bias.iter().map(|b| b.0));
        pointed.bias.extend(self.bias.iter().map(|b| b.1));
        let flag = |on, flag| if on { flag } else { 0 };
        let number = |n: Option<u32>| n.map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
        let (first, last) = self.keep.unwrap_or((0, 0));
        sys::alia_request_options {
            flags: flag(self.ignore_eos, sys::ALIA_REQUEST_IGNORE_EOS)
                | flag(self.hook.is_some(), sys::ALIA_REQUEST_CHOOSE)
                | flag(!self.share, sys::ALIA_REQUEST_DO_NOT_SHARE),
            max_tokens: self.max_tokens.map_or(-1, i64::from),
            temperature: self.temperature.unwrap_or(-1.0),
            top_p: self.top_p.unwrap_or(-1.0),
            min_p: self.min_p.unwrap_or(-1.0),
            repetition_penalty: self.repetition_penalty.unwrap_or(-1.0),
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            top_k: number(self.top_k),
            stop_count: pointed.stop.len() as u32,
            stop: pointed.stop.as_ptr(),
            bias_token: pointed.bias_token.as_ptr(),
            bias: pointed.bias.as_ptr(),
            bias_count: pointed.bias.len() as u64,
            seed: self.seed,
            min_tokens: self.min_tokens.into(),
            stop_text: pointed.stop_text.as_ptr(),
            stop_text_length: pointed.stop_text_length.as_ptr(),
            stop_text_count: pointed.stop_text.len() as u64,
            completions: i32::try_from(self.completions).unwrap_or(i32::MAX),
            priority: self.priority,
            top_tokens: number(self.logprobs),
            deadline: self
                .deadline
                .map_or(-1, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX).min(1 << 40)),
            context_first: first.into(),
            context_last: last.into(),
            salt: self.salt.as_ptr().cast(),
            salt_length: self.salt.len() as u64,
            ..sys::ALIA_REQUEST_OPTIONS_INIT
        }
    }
}

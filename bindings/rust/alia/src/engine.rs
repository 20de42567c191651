//! Engines, which run many requests on one model at once.
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Arc;

use alia_sys as sys;

use crate::error::{check, invalid, Error};
use crate::model::{owned_text, Model, Part, Prompt};
use crate::options::{EngineOptions, Options, Pointed, Stop};
use crate::router::Router;
use crate::sequence::Sequence;
use crate::stream::{Completion, Stream};

/// What an embedding is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    Mean,
    Last,
}

/// Rows of numbers, one behind the other.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbers {
    pub values: Vec<f32>,
    pub columns: usize,
}

impl Numbers {
    pub fn rows(&self) -> std::slice::Chunks<'_, f32> {
        self.values.chunks(self.columns.max(1))
    }
}

/// A model with a KV cache, on which many requests run at once, from any thread. It makes no thread that steps: waiting for
/// a piece of one stream drives all of them. Clones are the same engine, which lives as long as its streams and sequences.
#[derive(Clone)]
pub struct Engine {
    pub(crate) model: Model,
    pub(crate) router: Arc<Router>,
}

impl Engine {
    pub fn open(model: &Model) -> Result<Engine, Error> {
        Engine::open_with(model, &EngineOptions::default())
    }

    pub fn open_with(model: &Model, options: &EngineOptions) -> Result<Engine, Error> {
        let mut handle = null_mut();
        check(unsafe { sys::alia_engine_open(model.handle(), &options.to_c(), &mut handle) })?;
        Ok(Engine {
            model: model.clone(),
            router: Arc::new(Router::new(handle)),
        })
    }

    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Continues the prompt, piece by piece. Several streams at once are computed together.
    pub fn stream<'a>(&self, prompt: impl Into<Prompt<'a>>, options: &Options) -> Result<Stream<'static>, Error> {
        let ids = self.model.encode(prompt, true)?;
        self.submit(
            &ids,
            &Options {
                completions: 1,
                ..options.clone()
            },
            |_| (),
        )
    }

    /// Continues the prompt, in `options.completions` ways.
    pub fn complete<'a>(&self, prompt: impl Into<Prompt<'a>>, options: &Options) -> Result<Vec<Completion>, Error> {
        let ids = self.model.encode(prompt, true)?;
        Ok(std::mem::take(
            &mut self.submit(&ids, options, |_| ())?.finish()?.completions,
        ))
    }

    /// Answers a question, piece by piece, in the model's chat format where its vocabulary has one.
    pub fn ask_stream(
        &self,
        question: &str,
        system: Option<&str>,
        options: &Options,
    ) -> Result<Stream<'static>, Error> {
        let (ids, options) = self.question(question, system, None, options)?;
        self.submit(&ids, &options, |_| ())
    }

    /// The same as a whole.
    pub fn ask(&self, question: &str, system: Option<&str>, options: &Options) -> Result<String, Error> {
        self.ask_stream(question, system, options)?.collect()
    }

    /// The logits of every position of the prompt, copied once from the library's memory.
    pub fn logits<'a>(&self, prompt: impl Into<Prompt<'a>>) -> Result<Numbers, Error> {
        self.numbers(prompt, |o| o.flags |= sys::ALIA_REQUEST_PROMPT_LOGITS)
    }

    /// The natural logarithm of the probability of every token of the prompt but the first.
    pub fn score<'a>(&self, prompt: impl Into<Prompt<'a>>) -> Result<Vec<f32>, Error> {
        Ok(self
            .numbers(prompt, |o| o.flags |= sys::ALIA_REQUEST_PROMPT_SCORES)?
            .values)
    }

    /// The last hidden states of a text, pooled over its tokens, with length 1.
    pub fn embed<'a>(&self, prompt: impl Into<Prompt<'a>>, pooling: Pooling) -> Result<Vec<f32>, Error> {
        let numbers = self.numbers(prompt, |o| {
            o.flags |= sys::ALIA_REQUEST_NORMALISE;
            o.pooling = match pooling {
                Pooling::Mean => sys::ALIA_POOLING_MEAN,
                Pooling::Last => sys::ALIA_POOLING_LAST,
            };
        });
        Ok(numbers?.values)
    }

    fn numbers<'a>(
        &self,
        prompt: impl Into<Prompt<'a>>,
        ask: impl FnOnce(&mut sys::alia_request_options),
    ) -> Result<Numbers, Error> {
        let ids = self.model.encode(prompt, true)?;
        let options = Options {
            max_tokens: Some(0),
            ..Options::default()
        };
        let mut stream = self.submit(&ids, &options, ask)?.finish()?;
        Ok(Numbers {
            values: std::mem::take(&mut stream.values),
            columns: stream.columns,
        })
    }

    pub(crate) fn submit<'a>(
        &self,
        ids: &[i32],
        options: &Options,
        also: impl FnOnce(&mut sys::alia_request_options),
    ) -> Result<Stream<'a>, Error> {
        let mut pointed = Pointed::default();
        let mut given = options.to_c(&mut pointed);
        also(&mut given);
        let request = self.router.submit(ids, &given, options.hook.clone())?;
        Ok(Stream::new(
            self.router.clone(),
            request,
            given.completions as usize,
            options.logprobs.is_some(),
        ))
    }

    /// ChatML where the vocabulary has its tokens. What the user wrote never becomes a special token.
    pub(crate) fn question(
        &self,
        question: &str,
        system: Option<&str>,
        last: Option<i32>,
        options: &Options,
    ) -> Result<(Vec<i32>, Options), Error> {
        let mut options = Options {
            completions: 1,
            ..options.clone()
        };
        let end = match (self.model.token("<|im_start|>")?, self.model.token("<|im_end|>")?) {
            (Some(_), Some(end)) => end,
            _ if system.is_some() => {
                return Err(invalid(
                    "a system message needs a vocabulary with <|im_start|> and <|im_end|>",
                    "system",
                ))
            }
            _ => return Ok((self.model.encode(question, last.is_none())?, options)),
        };
        options.stop.push(Stop::Token(end));
        let mut parts = match last {
            None => vec![],
            Some(token) if token == end => vec![Part::Trusted("\n")],
            Some(_) => vec![Part::Trusted("<|im_end|>\n")],
        };
        if let Some(system) = system {
            let turn = [
                Part::Trusted("<|im_start|>system\n"),
                Part::Literal(system),
                Part::Trusted("<|im_end|>\n"),
            ];
            parts.extend(turn);
        }
        parts.extend([Part::Trusted("<|im_start|>user\n"), Part::Literal(question)]);
        parts.push(Part::Trusted("<|im_end|>\n<|im_start|>assistant\n"));
        Ok((self.model.encode(&parts, last.is_none())?, options))
    }

    /// What it has done and holds, as a JSON object: alia.h lists its members.
    pub fn counters(&self) -> Result<String, Error> {
        owned_text(|text, length| unsafe { sys::alia_engine_counters(self.router.handle(), text, length) })
    }

    /// A new sequence, empty.
    pub fn sequence(&self) -> Result<Sequence, Error> {
        let mut number = 0;
        check(unsafe { sys::alia_sequence_new(self.router.handle(), &mut number) })?;
        Ok(Sequence::new(self, number))
    }

    /// A new sequence from saved bytes, on an engine of the same model, cache format and kernels.
    pub fn restore(&self, saved: &[u8]) -> Result<Sequence, Error> {
        let mut number = 0;
        check(unsafe {
            sys::alia_sequence_restore(
                self.router.handle(),
                saved.as_ptr().cast(),
                saved.len() as u64,
                &mut number,
            )
        })?;
        Ok(Sequence::new(self, number))
    }

    /// The same from a file.
    pub fn restore_file(&self, path: impl AsRef<Path>) -> Result<Sequence, Error> {
        let path = path.as_ref().as_os_str().as_bytes();
        let mut number = 0;
        check(unsafe {
            sys::alia_sequence_restore_file(
                self.router.handle(),
                path.as_ptr().cast(),
                path.len() as u64,
                &mut number,
            )
        })?;
        Ok(Sequence::new(self, number))
    }
}

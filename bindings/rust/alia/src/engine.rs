//! Engines, which run many requests on one model at once.
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Arc;

use alia_sys as sys;

use crate::chat::{with_message, ChatOptions};
use crate::error::{check, Error};
use crate::model::{owned_text, Model, Prompt};
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

/// A question as a request.
pub(crate) struct Question {
    pub ids: Vec<i32>,
    pub options: Options,
    /// Not a prompt as it stands.
    pub chat: bool,
}

/// Messages with a question behind them.
pub(crate) fn asked(messages: &str, question: &str, system: Option<&str>) -> String {
    let with_system = system.map(|system| with_message(messages, "system", system));
    with_message(with_system.as_deref().unwrap_or(messages), "user", question)
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

    /// Answers a question, piece by piece: as the checkpoint's chat template writes it, or ChatML; else, without a
    /// `system` message, as it stands. Whole conversations go by [`Model::encode_chat`].
    pub fn ask_stream(
        &self,
        question: &str,
        system: Option<&str>,
        options: &Options,
    ) -> Result<Stream<'static>, Error> {
        let messages = asked("[]", question, system);
        let plain = system.is_none().then_some((question, true));
        let question = self.question(&messages, plain, options)?;
        self.submit(&question.ids, &question.options, |_| ())
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

    /// The tokens of a conversation that a question ends, and what ends the answer. A question alone is a prompt as it
    /// stands where the model has no format.
    pub(crate) fn question(
        &self,
        messages: &str,
        plain: Option<(&str, bool)>,
        options: &Options,
    ) -> Result<Question, Error> {
        let mut options = Options {
            completions: 1,
            ..options.clone()
        };
        match (self.model.encode_chat(messages, &ChatOptions::default()), plain) {
            (Err(Error::NotFound(_)), Some((text, start))) => Ok(Question {
                ids: self.model.encode(text, start)?,
                options,
                chat: false,
            }),
            (ids, _) => {
                let stops = self.model.chat_stops()?;
                options.stop.extend(stops.into_iter().map(Stop::Token));
                Ok(Question {
                    ids: ids?,
                    options,
                    chat: true,
                })
            }
        }
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

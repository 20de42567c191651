//! Sequences: tokens that stay in an engine with their pages.
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use alia_sys as sys;

use crate::chat::with_message;
use crate::engine::{asked, Engine};
use crate::error::{check, Error};
use crate::model::{owned_ids, slice, Prompt};
use crate::options::Options;
use crate::stream::{Completion, Stream};

/// Tokens that requests continue, so that only what is new is processed: what is asked of a sequence, and the answer, become
/// part of it. One request at a time runs on it.
pub struct Sequence {
    engine: Engine,
    number: u64,
    request: u64, // the last one, or 0
    conversation: Option<Conversation>,
}

/// What was asked and answered so far.
#[derive(Clone)]
struct Conversation {
    messages: String,      // JSON, a list
    before: usize,         // tokens in front of it
    answer: Option<usize>, // where the tokens of the last answer begin that is not among the messages yet
}

impl Sequence {
    pub(crate) fn new(engine: &Engine, number: u64) -> Sequence {
        Sequence {
            engine: engine.clone(),
            number,
            request: 0,
            conversation: None,
        }
    }

    /// Until a request whose stream was dropped has left it.
    fn settle(&self) -> Result<(), Error> {
        self.engine.router.settle(self.request)
    }

    fn submit(&mut self, ids: &[i32], options: &Options) -> Result<Stream<'_>, Error> {
        let number = self.number;
        let stream = self.engine.submit(ids, options, |o| o.sequence = number)?;
        self.request = stream.request();
        Ok(stream)
    }

    /// See [`Engine::stream`].
    pub fn stream<'a>(&mut self, prompt: impl Into<Prompt<'a>>, options: &Options) -> Result<Stream<'_>, Error> {
        let empty = self.tokens()?.is_empty();
        let ids = self.engine.model.encode(prompt, empty)?;
        self.conversation = None;
        self.submit(
            &ids,
            &Options {
                completions: 1,
                ..options.clone()
            },
        )
    }

    /// The same as a whole.
    pub fn complete<'a>(&mut self, prompt: impl Into<Prompt<'a>>, options: &Options) -> Result<Completion, Error> {
        Ok(std::mem::take(
            &mut self.stream(prompt, options)?.finish()?.completions[0],
        ))
    }

    /// Adds the prompt and processes it, so that what follows it starts at once.
    pub fn extend<'a>(&mut self, prompt: impl Into<Prompt<'a>>) -> Result<(), Error> {
        self.complete(
            prompt,
            &Options {
                max_tokens: Some(0),
                ..Options::default()
            },
        )
        .map(drop)
    }

    /// See [`Engine::ask_stream`]. The conversation is written as a whole, since templates may change earlier turns, and
    /// tokens are processed from the first that differs from those that are there. A prompt that is no question,
    /// [`keep`](Sequence::keep) and [`truncate`](Sequence::truncate) end it: the next question begins one behind what
    /// is there.
    pub fn ask_stream(&mut self, question: &str, system: Option<&str>, options: &Options) -> Result<Stream<'_>, Error> {
        let mut ids = self.tokens()?;
        let (before, said) = match &self.conversation {
            Some(conversation) => (conversation.before, self.messages()?),
            None => (ids.len(), "[]".into()),
        };
        let messages = asked(&said, question, system);
        let plain = (system.is_none() && self.conversation.is_none()).then_some((question, ids.is_empty()));
        let asked = self.engine.question(&messages, plain, options)?;
        if !asked.chat {
            return self.submit(&asked.ids, &asked.options);
        }
        ids.truncate(before);
        let again = before > 0 && asked.ids.first().copied() == self.engine.model.bos()?;
        ids.extend(&asked.ids[usize::from(again)..]);
        let conversation = Conversation {
            messages: said,
            before,
            answer: None,
        };
        let kept = self.keep(&ids)?;
        self.conversation = Some(conversation); // as it was, if the question is refused
        let number = self.number;
        let stream = self
            .engine
            .submit(&ids[kept..], &asked.options, |o| o.sequence = number)?;
        self.request = stream.request();
        self.conversation = Some(Conversation {
            messages,
            before,
            answer: Some(ids.len()),
        });
        Ok(stream)
    }

    pub fn ask(&mut self, question: &str, system: Option<&str>, options: &Options) -> Result<String, Error> {
        self.ask_stream(question, system, options)?.collect()
    }

    /// The conversation so far: JSON, a list of messages.
    pub fn messages(&self) -> Result<String, Error> {
        let conversation = match &self.conversation {
            Some(conversation) => conversation,
            None => return Ok("[]".into()),
        };
        let begin = match conversation.answer {
            Some(begin) => begin,
            None => return Ok(conversation.messages.clone()),
        };
        let tokens = self.tokens()?;
        let answer = self.engine.model.decode(tokens.get(begin..).unwrap_or(&[]), false)?;
        Ok(with_message(&conversation.messages, "assistant", &answer))
    }

    /// Makes these messages the conversation that its next question goes on with: of a restored sequence, say.
    pub fn set_messages(&mut self, messages: &str) {
        self.conversation = Some(Conversation {
            messages: messages.into(),
            before: 0,
            answer: None,
        });
    }

    /// Makes it the start of a prompt: keeps the tokens that both begin with, and forgets the others. What is left to ask
    /// of it is `ids[kept..]`.
    pub fn keep(&mut self, ids: &[i32]) -> Result<usize, Error> {
        self.settle()?;
        let mut kept = 0;
        check(unsafe {
            sys::alia_sequence_keep(
                self.engine.router.handle(),
                self.number,
                ids.as_ptr(),
                ids.len() as u64,
                &mut kept,
            )
        })?;
        self.conversation = None;
        Ok(kept as usize)
    }

    /// A copy, which shares its pages.
    pub fn fork(&self) -> Result<Sequence, Error> {
        self.settle()?;
        let mut copy = 0;
        check(unsafe { sys::alia_sequence_fork(self.engine.router.handle(), self.number, &mut copy) })?;
        let mut copy = Sequence::new(&self.engine, copy);
        copy.conversation = self.conversation.clone();
        Ok(copy)
    }

    /// Forgets every token from `length` on.
    pub fn truncate(&mut self, length: usize) -> Result<(), Error> {
        self.settle()?;
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        check(unsafe { sys::alia_sequence_truncate(self.engine.router.handle(), self.number, length) })?;
        self.conversation = None;
        Ok(())
    }

    pub fn tokens(&self) -> Result<Vec<i32>, Error> {
        self.settle()?;
        owned_ids(|ids, count| unsafe {
            sys::alia_sequence_tokens(self.engine.router.handle(), self.number, ids, count)
        })
    }

    /// Its tokens and their pages as bytes, for [`Engine::restore`].
    pub fn save(&self) -> Result<Vec<u8>, Error> {
        self.settle()?;
        let (mut bytes, mut length) = (null_mut(), 0);
        check(unsafe { sys::alia_sequence_save(self.engine.router.handle(), self.number, &mut bytes, &mut length) })?;
        let copy = unsafe { slice(bytes.cast::<u8>(), length) }.to_vec();
        unsafe { sys::alia_bytes_free(bytes) };
        Ok(copy)
    }

    /// The same in a file, which takes its name once it is whole.
    pub fn save_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.settle()?;
        let path = path.as_ref().as_os_str().as_bytes();
        check(unsafe {
            sys::alia_sequence_save_file(
                self.engine.router.handle(),
                self.number,
                path.as_ptr().cast(),
                path.len() as u64,
            )
        })
    }
}

impl Drop for Sequence {
    fn drop(&mut self) {
        let _ = self.settle(); // an engine that cannot step any more forgets its sequences as a whole
        unsafe { sys::alia_sequence_free(self.engine.router.handle(), self.number) };
    }
}

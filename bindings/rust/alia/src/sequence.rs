//! Sequences: tokens that stay in an engine with their pages.
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::null_mut;

use alia_sys as sys;

use crate::engine::Engine;
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
}

impl Sequence {
    pub(crate) fn new(engine: &Engine, number: u64) -> Sequence {
        Sequence {
            engine: engine.clone(),
            number,
            request: 0,
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

    /// See [`Engine::ask_stream`].
    pub fn ask_stream(&mut self, question: &str, system: Option<&str>, options: &Options) -> Result<Stream<'_>, Error> {
        let last = self.tokens()?.last().copied();
        let (ids, options) = self.engine.question(question, system, last, options)?;
        self.submit(&ids, &options)
    }

    pub fn ask(&mut self, question: &str, system: Option<&str>, options: &Options) -> Result<String, Error> {
        self.ask_stream(question, system, options)?.collect()
    }

    /// A copy, which shares its pages.
    pub fn fork(&self) -> Result<Sequence, Error> {
        self.settle()?;
        let mut copy = 0;
        check(unsafe { sys::alia_sequence_fork(self.engine.router.handle(), self.number, &mut copy) })?;
        Ok(Sequence::new(&self.engine, copy))
    }

    /// Forgets every token from `length` on.
    pub fn truncate(&mut self, length: usize) -> Result<(), Error> {
        self.settle()?;
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        check(unsafe { sys::alia_sequence_truncate(self.engine.router.handle(), self.number, length) })
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

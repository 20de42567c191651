//! Answers as streams of text.
use std::marker::PhantomData;
use std::panic::resume_unwind;
use std::sync::Arc;

use alia_sys as sys;

use crate::error::Error;
use crate::router::{Item, Router};

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// The model's end token, or one of the options' `stop`.
    Stop,
    /// `max_tokens`.
    Length,
    /// The context is full.
    Context,
    Cancelled,
    Deadline,
}

impl Finish {
    pub(crate) fn of(finish: i32) -> Finish {
        match finish {
            sys::ALIA_FINISH_STOP => Finish::Stop,
            sys::ALIA_FINISH_LENGTH => Finish::Length,
            sys::ALIA_FINISH_CONTEXT => Finish::Context,
            sys::ALIA_FINISH_DEADLINE => Finish::Deadline,
            _ => Finish::Cancelled,
        }
    }
}

/// An answer, or what there is of it so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completion {
    pub text: String,
    pub tokens: Vec<i32>,
    /// None: it goes on.
    pub finish: Option<Finish>,
    /// Natural logarithms, of each token; with the option `logprobs` only.
    pub logprobs: Vec<f32>,
    /// The best tokens at each place, with theirs.
    pub top: Vec<Vec<(i32, f32)>>,
    pub prompt_tokens: i64,
    /// Of the prompt, whose pages were in the cache already.
    pub cached_tokens: i64,
}

/// The pieces of an answer as they come: whole characters, never empty. The engine steps while a thread waits for a piece of
/// any of its streams. Dropping the stream cancels the request. Of a sequence, it borrows that.
pub struct Stream<'a> {
    router: Arc<Router>,
    request: u64,
    left: usize,
    logprobs: bool,
    pub(crate) completions: Vec<Completion>,
    pub(crate) values: Vec<f32>,
    pub(crate) columns: usize,
    owner: PhantomData<&'a mut ()>,
}

impl Stream<'_> {
    pub(crate) fn new<'a>(router: Arc<Router>, request: u64, completions: usize, logprobs: bool) -> Stream<'a> {
        Stream {
            router,
            request,
            left: completions,
            logprobs,
            completions: vec![Completion::default(); completions],
            values: Vec::new(),
            columns: 0,
            owner: PhantomData,
        }
    }

    /// The answer so far, and once the stream has ended why it did.
    pub fn completion(&self) -> &Completion {
        &self.completions[0]
    }

    pub(crate) fn request(&self) -> u64 {
        self.request
    }

    fn take(&mut self) -> Result<String, Error> {
        match self.router.take(self.request)? {
            Item::Failed(error) => Err(error),
            Item::Panicked(panic) => {
                self.cancel();
                resume_unwind(panic)
            }
            Item::Values { values, columns } => {
                self.values.extend(values);
                self.columns = columns;
                Ok(String::new())
            }
            Item::Token {
                completion,
                text,
                token,
                logprob,
                top,
            } => {
                let c = &mut self.completions[completion];
                c.text += &text;
                c.tokens.push(token);
                if self.logprobs {
                    c.logprobs.push(logprob);
                    c.top.push(top);
                }
                Ok(text)
            }
            Item::End {
                completion,
                text,
                finish,
                prompt_tokens,
                cached_tokens,
            } => {
                let c = &mut self.completions[completion];
                c.text += &text;
                (c.finish, c.prompt_tokens, c.cached_tokens) = (Some(finish), prompt_tokens, cached_tokens);
                self.left -= 1;
                Ok(text)
            }
        }
    }

    /// To the end.
    pub(crate) fn finish(mut self) -> Result<Self, Error> {
        self.by_ref().try_for_each(|piece| piece.map(drop))?;
        Ok(self)
    }

    fn cancel(&mut self) {
        if std::mem::take(&mut self.left) > 0 {
            self.router.abandon(self.request);
        }
    }
}

impl Iterator for Stream<'_> {
    type Item = Result<String, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.left > 0 {
            match self.take() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Some(Ok(piece)),
                Err(error) => {
                    self.cancel();
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

impl Drop for Stream<'_> {
    fn drop(&mut self) {
        self.cancel();
    }
}

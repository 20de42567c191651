//! An engine in pull mode for many threads: whoever waits for an event steps the engine for all, unless another thread does.
use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use alia_sys as sys;

use crate::error::{check, Details, Error};
use crate::model::slice;
use crate::options::Hook;
use crate::stream::Finish;

/// What an event tells, owned.
pub(crate) enum Item {
    Token {
        completion: usize,
        text: String,
        token: i32,
        logprob: f32,
        top: Vec<(i32, f32)>,
    },
    Values {
        values: Vec<f32>,
        columns: usize,
    },
    End {
        completion: usize,
        text: String,
        finish: Finish,
        prompt_tokens: i64,
        cached_tokens: i64,
    },
    Failed(Error),
    Panicked(Box<dyn Any + Send>),
}

struct Mailbox {
    items: VecDeque<Item>,
    left: usize, // completions that go on
    hook: Option<Hook>,
    tokens: Vec<Vec<i32>>, // generated so far, for the hook
    abandoned: bool,
}

#[derive(Default)]
struct State {
    stepping: bool,
    mailboxes: HashMap<u64, Mailbox>,
}

pub(crate) struct Router {
    handle: *mut sys::alia_engine,
    state: Mutex<State>,
    news: Condvar,
}
// SAFETY: any function of the library may be called from any thread; what a step lends is used by the one that steps.
unsafe impl Send for Router {}
unsafe impl Sync for Router {}

impl Drop for Router {
    fn drop(&mut self) {
        unsafe { sys::alia_engine_free(self.handle) };
    }
}

impl Router {
    pub(crate) fn new(handle: *mut sys::alia_engine) -> Router {
        Router {
            handle,
            state: Mutex::default(),
            news: Condvar::new(),
        }
    }

    pub(crate) fn handle(&self) -> *mut sys::alia_engine {
        self.handle
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock is held meanwhile, so that the request's events find its mailbox.
    pub(crate) fn submit(
        &self,
        ids: &[i32],
        options: &sys::alia_request_options,
        hook: Option<Hook>,
    ) -> Result<u64, Error> {
        let mut state = self.lock();
        let mut number = 0;
        check(unsafe { sys::alia_engine_submit(self.handle, ids.as_ptr(), ids.len() as u64, options, &mut number) })?;
        let left = options.completions as usize;
        let mailbox = Mailbox {
            items: VecDeque::new(),
            left,
            hook,
            tokens: vec![Vec::new(); left],
            abandoned: false,
        };
        state.mailboxes.insert(number, mailbox);
        Ok(number)
    }

    /// The request's next item. An error is of a whole step.
    pub(crate) fn take(&self, request: u64) -> Result<Item, Error> {
        let mut state = self.lock();
        loop {
            let mailbox = state
                .mailboxes
                .get_mut(&request)
                .expect("a request is there until its end is taken");
            if let Some(item) = mailbox.items.pop_front() {
                if mailbox.left == 0 && mailbox.items.is_empty() {
                    state.mailboxes.remove(&request);
                }
                return Ok(item);
            }
            state = self.advance(state)?;
        }
    }

    /// Cancels a request whose answer nobody wants. Never waits; its end comes with a later step.
    pub(crate) fn abandon(&self, request: u64) {
        let mut state = self.lock();
        if let Some(mailbox) = state.mailboxes.get_mut(&request) {
            mailbox.abandoned = true;
            mailbox.items.clear();
            if mailbox.left == 0 {
                state.mailboxes.remove(&request);
            } else {
                unsafe { sys::alia_engine_cancel(self.handle, request) };
            }
        }
    }

    /// Waits until an abandoned request has left the engine.
    pub(crate) fn settle(&self, request: u64) -> Result<(), Error> {
        self.abandon(request);
        let mut state = self.lock();
        while state.mailboxes.contains_key(&request) {
            state = self.advance(state)?;
        }
        Ok(())
    }

    /// Steps, or waits until the thread that does has stepped.
    fn advance<'a>(&'a self, mut state: MutexGuard<'a, State>) -> Result<MutexGuard<'a, State>, Error> {
        if state.stepping {
            return Ok(self.news.wait(state).unwrap_or_else(PoisonError::into_inner));
        }
        state.stepping = true;
        drop(state);
        let stepped = self.step();
        let mut state = self.lock();
        state.stepping = false;
        self.news.notify_all();
        stepped.map(|()| state)
    }

    fn step(&self) -> Result<(), Error> {
        const CAPACITY: usize = 32;
        let mut events = [sys::ALIA_EVENT_INIT; CAPACITY];
        let mut count = 0;
        check(unsafe { sys::alia_engine_step(self.handle, events.as_mut_ptr(), CAPACITY as u32, &mut count) })?;
        for event in &events[..count as usize] {
            // SAFETY: what the event lends is valid until the next step, which only this thread may run.
            let values = unsafe { slice(event.values, event.rows.max(1) as u64 * event.columns as u64) };
            if event.kind == sys::ALIA_EVENT_CHOICE {
                self.choose(event, values);
            } else {
                self.deliver(event, values);
            }
        }
        Ok(())
    }

    fn choose(&self, event: &sys::alia_event, values: &[f32]) {
        let (hook, tokens) = match self.lock().mailboxes.get_mut(&event.request) {
            Some(m) if !m.abandoned => (m.hook.clone(), std::mem::take(&mut m.tokens[event.completion as usize])),
            _ => return,
        };
        let hook = hook.expect("only a request with a hook has choices");
        let chosen = catch_unwind(AssertUnwindSafe(|| hook(values, &tokens)));
        let failure = match chosen {
            Err(panic) => Some(Item::Panicked(panic)),
            Ok(wanted) => {
                let logits = wanted.as_deref().unwrap_or(values);
                let chosen = check(unsafe {
                    sys::alia_engine_choose(
                        self.handle,
                        event.request,
                        event.completion,
                        logits.as_ptr(),
                        logits.len() as u64,
                    )
                });
                chosen.err().map(Item::Failed)
            }
        };
        if let Some(mailbox) = self.lock().mailboxes.get_mut(&event.request) {
            mailbox.tokens[event.completion as usize] = tokens;
            if let Some(failure) = failure {
                mailbox.items.push_back(failure);
                unsafe { sys::alia_engine_cancel(self.handle, event.request) };
            }
        }
    }

    fn deliver(&self, event: &sys::alia_event, values: &[f32]) {
        let mut state = self.lock();
        let mailbox = match state.mailboxes.get_mut(&event.request) {
            Some(mailbox) => mailbox,
            None => return,
        };
        // SAFETY: as for the values.
        let text = |at, length| String::from_utf8_lossy(unsafe { slice::<u8>(at, length) }).into_owned();
        let completion = event.completion as usize;
        let item = match event.kind {
            sys::ALIA_EVENT_TOKEN => {
                if mailbox.hook.is_some() {
                    mailbox.tokens[completion].push(event.token);
                }
                let top = unsafe { slice(event.top, event.top_count.into()) };
                Item::Token {
                    completion,
                    text: text(event.text.cast(), event.text_length),
                    token: event.token,
                    logprob: event.logprob,
                    top: top.iter().map(|t| (t.token, t.logprob)).collect(),
                }
            }
            sys::ALIA_EVENT_FINISHED => {
                mailbox.left -= 1;
                if event.finish == sys::ALIA_FINISH_ERROR {
                    let message = text(event.message.cast(), event.message_length);
                    let details = Details {
                        message,
                        item: String::new(),
                        offset: None,
                        usable: true,
                    };
                    Item::Failed(Error::new(event.status, details))
                } else {
                    Item::End {
                        completion,
                        text: text(event.text.cast(), event.text_length),
                        finish: Finish::of(event.finish),
                        prompt_tokens: event.prompt_tokens,
                        cached_tokens: event.cached_tokens,
                    }
                }
            }
            _ => Item::Values {
                values: values.to_vec(),
                columns: event.columns as usize,
            },
        };
        if !mailbox.abandoned {
            mailbox.items.push_back(item);
        } else if mailbox.left == 0 {
            state.mailboxes.remove(&event.request);
        }
    }
}

//! Models: weights, tokenizer, and what is known of them.
use std::any::Any;
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Arc;

use alia_sys as sys;

use crate::error::{check, Error};
use crate::options::EngineOptions;

/// How much of a model to load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Load {
    #[default]
    All,
    /// The tokenizer alone; the path may also be a tokenizer's own file.
    Text,
    /// All but the weights' numbers.
    Headers,
}

#[derive(Clone, Debug, Default)]
pub struct ModelOptions {
    pub load: Load,
    /// "auto", "cpu", "cpu:base", "ref", "cuda:0", ...; empty: the environment's ALIA_DEVICE, else auto.
    pub device: String,
    /// Of CPU devices; 0: what the machine and the control group allow.
    pub threads: i32,
    /// Each thread that the library makes keeps to one processor.
    pub pin_threads: bool,
}

/// What a load has done so far.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    pub phase: &'a str,
    /// Bytes.
    pub done: i64,
    /// 0: not known.
    pub total: i64,
}

/// A part of a text to encode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// From a user: no byte of it is ever part of a special token.
    Literal(&'a str),
    /// From the program: special tokens that it spells become those tokens.
    Trusted(&'a str),
}

/// What a request starts with; made from a text, from parts of one, or from token ids.
#[derive(Clone, Copy, Debug)]
pub enum Prompt<'a> {
    Text(&'a str),
    Parts(&'a [Part<'a>]),
    Ids(&'a [i32]),
}

macro_rules! prompt_from {
    ($($type:ty, $value:ident => $made:expr;)*) => {
        $(impl<'a> From<$type> for Prompt<'a> {
            fn from($value: $type) -> Self { $made }
        })*
    };
}
prompt_from! {
    &'a str, text => Prompt::Text(text);
    &'a String, text => Prompt::Text(text);
    &'a [Part<'a>], parts => Prompt::Parts(parts);
    &'a Vec<Part<'a>>, parts => Prompt::Parts(parts);
    &'a [i32], ids => Prompt::Ids(ids);
    &'a Vec<i32>, ids => Prompt::Ids(ids);
}
impl<'a, const N: usize> From<&'a [i32; N]> for Prompt<'a> {
    fn from(ids: &'a [i32; N]) -> Self {
        Prompt::Ids(ids)
    }
}

struct Handle(*mut sys::alia_model);
// SAFETY: any function of the library may be called from any thread at any time; a model is immutable.
unsafe impl Send for Handle {}
unsafe impl Sync for Handle {}
impl Drop for Handle {
    fn drop(&mut self) {
        unsafe { sys::alia_model_free(self.0) };
    }
}

/// An immutable model, which several engines may share. Clones are the same model.
#[derive(Clone)]
pub struct Model(Arc<Handle>);

struct Watch<'a> {
    tell: &'a mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    panic: Option<Box<dyn Any + Send>>,
}

unsafe extern "C" fn tell(user: *mut c_void, progress: *const sys::alia_progress) -> i32 {
    let (watch, p) = (&mut *user.cast::<Watch>(), &*progress);
    let phase = std::ffi::CStr::from_ptr(p.phase).to_str().unwrap_or("");
    let told = catch_unwind(AssertUnwindSafe(|| {
        (watch.tell)(Progress {
            phase,
            done: p.done,
            total: p.total,
        })
    }));
    match told {
        Ok(ControlFlow::Continue(())) => 0,
        Ok(ControlFlow::Break(())) => 1,
        Err(panic) => {
            watch.panic = Some(panic);
            1
        }
    }
}

impl Model {
    /// A GGUF file, a directory as model hubs lay them out, or a .safetensors file with config.json beside it.
    pub fn open(path: impl AsRef<Path>) -> Result<Model, Error> {
        Model::open_with(path, &ModelOptions::default(), |_| ControlFlow::Continue(()))
    }

    /// The same, telling how far it has got; `Break` ends it with [`Error::Cancelled`].
    pub fn open_with(
        path: impl AsRef<Path>,
        options: &ModelOptions,
        mut progress: impl FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Model, Error> {
        let path = path.as_ref().as_os_str().as_bytes();
        let mut watch = Watch {
            tell: &mut progress,
            panic: None,
        };
        let mut given = options.to_c();
        given.progress = Some(tell);
        given.user = (&mut watch as *mut Watch).cast();
        let mut handle = null_mut();
        check(unsafe { sys::alia_abi_check(sys::ALIA_ABI_VERSION) })?;
        // SAFETY: what the options point to outlives the call.
        let opened =
            check(unsafe { sys::alia_model_open(path.as_ptr().cast(), path.len() as u64, &given, &mut handle) });
        if let Some(panic) = watch.panic {
            resume_unwind(panic);
        }
        opened.map(|()| Model(Arc::new(Handle(handle))))
    }

    pub(crate) fn handle(&self) -> *mut sys::alia_model {
        self.0 .0
    }

    /// What the model is, as a JSON object: alia.h lists its members.
    pub fn info(&self) -> Result<String, Error> {
        owned_text(|text, length| unsafe { sys::alia_model_info(self.handle(), text, length) })
    }

    /// The tokens of a text. With `add_special` also what the tokenizer adds around one, such as a first `<s>`.
    pub fn encode<'a>(&self, text: impl Into<Prompt<'a>>, add_special: bool) -> Result<Vec<i32>, Error> {
        let text = text.into();
        let one;
        let parts = match text {
            Prompt::Ids(ids) => return Ok(ids.to_vec()),
            Prompt::Text(text) => {
                one = [Part::Literal(text)];
                &one[..]
            }
            Prompt::Parts(parts) => parts,
        };
        let given: Vec<_> = parts
            .iter()
            .map(|part| {
                let (kind, text) = match part {
                    Part::Literal(text) => (sys::ALIA_PART_LITERAL, text),
                    Part::Trusted(text) => (sys::ALIA_PART_TRUSTED, text),
                };
                sys::alia_text_part {
                    kind,
                    text: text.as_ptr().cast(),
                    length: text.len() as u64,
                    ..sys::ALIA_TEXT_PART_INIT
                }
            })
            .collect();
        let flags = if add_special { sys::ALIA_ENCODE_ADD_SPECIAL } else { 0 };
        owned_ids(|ids, count| unsafe {
            sys::alia_model_encode(self.handle(), given.as_ptr(), given.len() as u64, flags, ids, count)
        })
    }

    /// The text of these tokens; special ones are left out unless `keep_special`. Bytes that are no UTF-8 become U+FFFD.
    pub fn decode(&self, ids: &[i32], keep_special: bool) -> Result<String, Error> {
        let flags = if keep_special { sys::ALIA_DECODE_KEEP_SPECIAL } else { 0 };
        owned_text(|text, length| unsafe {
            sys::alia_model_decode(self.handle(), ids.as_ptr(), ids.len() as u64, flags, text, length)
        })
    }

    /// The bytes that a token adds to a text, which need not be whole UTF-8.
    pub fn token_bytes(&self, token: i32) -> Result<&[u8], Error> {
        let (mut bytes, mut length) = (std::ptr::null(), 0);
        check(unsafe { sys::alia_model_token_bytes(self.handle(), token, &mut bytes, &mut length) })?;
        Ok(unsafe { slice(bytes.cast(), length) }) // SAFETY: valid until the model is freed
    }

    /// The token that is written exactly so, special or not.
    pub fn token(&self, text: &str) -> Result<Option<i32>, Error> {
        let mut token = -1;
        let found = check(unsafe {
            sys::alia_model_token_find(self.handle(), text.as_ptr().cast(), text.len() as u64, &mut token)
        });
        match found {
            Err(Error::NotFound(_)) => Ok(None),
            other => other.map(|()| Some(token)),
        }
    }

    /// How many tokens the tokenizer knows. Rows of logits may be longer.
    pub fn vocabulary(&self) -> Result<i32, Error> {
        let mut size = 0;
        check(unsafe { sys::alia_model_vocabulary(self.handle(), &mut size) }).map(|()| size)
    }

    /// The token that starts a text.
    pub fn bos(&self) -> Result<Option<i32>, Error> {
        let mut token = -1;
        check(unsafe { sys::alia_model_bos(self.handle(), &mut token) }).map(|()| (token >= 0).then_some(token))
    }

    /// The tokens that end a generation.
    pub fn eos(&self) -> Result<&[i32], Error> {
        let (mut tokens, mut count) = (std::ptr::null(), 0);
        check(unsafe { sys::alia_model_eos(self.handle(), &mut tokens, &mut count) })?;
        Ok(unsafe { slice(tokens, count) }) // SAFETY: valid until the model is freed
    }
}

/// What opening this model and an engine on it would take of memory, from the files' headers alone: a JSON object, whose
/// members alia.h lists.
pub fn plan(path: impl AsRef<Path>, model: &ModelOptions, engine: &EngineOptions) -> Result<String, Error> {
    let path = path.as_ref().as_os_str().as_bytes();
    owned_text(|text, length| unsafe {
        sys::alia_plan(
            path.as_ptr().cast(),
            path.len() as u64,
            &model.to_c(),
            &engine.to_c(),
            text,
            length,
        )
    })
}

impl ModelOptions {
    /// Borrows the device's name.
    fn to_c(&self) -> sys::alia_model_options {
        sys::alia_model_options {
            load: match self.load {
                Load::All => sys::ALIA_LOAD_ALL,
                Load::Text => sys::ALIA_LOAD_TEXT,
                Load::Headers => sys::ALIA_LOAD_HEADERS,
            },
            device: self.device.as_ptr().cast(),
            device_length: self.device.len() as u64,
            threads: self.threads,
            flags: if self.pin_threads {
                sys::ALIA_MODEL_PIN_THREADS
            } else {
                0
            },
            ..sys::ALIA_MODEL_OPTIONS_INIT
        }
    }
}

/// # Safety
/// The pointer may be NULL where the length is 0; otherwise it is valid for `'a`.
pub(crate) unsafe fn slice<'a, T>(at: *const T, length: u64) -> &'a [T] {
    if length == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(at, length as usize)
    }
}

/// The text that a function of the library makes and hands over.
pub(crate) fn owned_text(give: impl FnOnce(*mut *mut c_char, *mut u64) -> i32) -> Result<String, Error> {
    let (mut text, mut length) = (null_mut(), 0);
    check(give(&mut text, &mut length))?;
    // SAFETY: it is ours until it is freed.
    let copy = String::from_utf8_lossy(unsafe { slice(text.cast::<u8>(), length) }).into_owned();
    unsafe { sys::alia_text_free(text) };
    Ok(copy)
}

pub(crate) fn owned_ids(give: impl FnOnce(*mut *mut i32, *mut u64) -> i32) -> Result<Vec<i32>, Error> {
    let (mut ids, mut count) = (null_mut(), 0);
    check(give(&mut ids, &mut count))?;
    let copy = unsafe { slice(ids, count) }.to_vec();
    unsafe { sys::alia_ids_free(ids) };
    Ok(copy)
}

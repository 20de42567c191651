//! The library's statuses as an enum.
use std::ffi::CStr;
use std::fmt;

use alia_sys as sys;

/// What an error says beside its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// One sentence for people, naming file, tensor, byte or argument.
    pub message: String,
    /// The tensor, metadata key, JSON pointer or argument, or nothing.
    pub item: String,
    /// The byte in the file or text.
    pub offset: Option<u64>,
    /// Whether the model or engine can still be used, or only be dropped.
    pub usable: bool,
}

macro_rules! errors {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:ident,)*) => {
        /// Why a call failed.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Error { $($(#[doc = $doc])+ $name(Details),)* }

        impl Error {
            pub(crate) fn new(status: i32, details: Details) -> Error {
                match status {
                    $(sys::$status => Error::$name(details),)*
                    _ => Error::Internal(details),
                }
            }

            pub fn details(&self) -> &Details {
                match self { $(Error::$name(details) => details,)* }
            }
        }
    };
}

errors! {
    /// An argument of the caller.
    InvalidArgument = ALIA_INVALID_ARGUMENT,
    /// No such file, tensor, token or sequence.
    NotFound = ALIA_NOT_FOUND,
    /// The system failed to open, map or read.
    Io = ALIA_IO,
    /// A file ends before what it announces.
    Truncated = ALIA_TRUNCATED,
    /// Bytes that break their format's rules.
    Malformed = ALIA_MALFORMED,
    /// One name twice.
    Duplicate = ALIA_DUPLICATE,
    /// Two tensors share bytes.
    Overlap = ALIA_OVERLAP,
    /// A tensor, key or shard that the model needs is absent.
    Missing = ALIA_MISSING,
    /// A tensor's shape contradicts the configuration.
    Shape = ALIA_SHAPE,
    /// Well formed, but not something this library runs or knows.
    Unsupported = ALIA_UNSUPPORTED,
    /// Beyond a stated limit.
    Limit = ALIA_LIMIT,
    /// The machine or the device has no memory left for it.
    OutOfMemory = ALIA_OUT_OF_MEMORY,
    /// The checkpoint came without one.
    NoTokenizer = ALIA_NO_TOKENIZER,
    /// More tokens than the cache has positions.
    ContextFull = ALIA_CONTEXT_FULL,
    /// No such device, or this build lacks it.
    DeviceUnavailable = ALIA_DEVICE_UNAVAILABLE,
    /// The device is gone; the engine can only be dropped.
    DeviceLost = ALIA_DEVICE_LOST,
    /// A handle of another process: this one was forked from it.
    BadHandle = ALIA_BAD_HANDLE,
    /// A request runs on the sequence.
    Busy = ALIA_BUSY,
    /// By the caller.
    Cancelled = ALIA_CANCELLED,
    /// A defect of libalia.
    Internal = ALIA_INTERNAL,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.details().message)
    }
}
impl std::error::Error for Error {}

/// The calling thread's last failure unless the status is ALIA_OK.
pub(crate) fn check(status: i32) -> Result<(), Error> {
    if status == sys::ALIA_OK {
        return Ok(());
    }
    // SAFETY: these texts are valid until the thread's next failure; they are copied here.
    let text = |p| unsafe { CStr::from_ptr(p) }.to_string_lossy().into_owned();
    let (message, item, offset, usable) = unsafe {
        (
            text(sys::alia_error_message()),
            text(sys::alia_error_item()),
            sys::alia_error_offset(),
            sys::alia_error_handle_usable() == 1,
        )
    };
    Err(Error::new(
        status,
        Details {
            message,
            item,
            offset: u64::try_from(offset).ok(),
            usable,
        },
    ))
}

//! libalia from Rust: ALIA, Salamandra and other models of the Llama architecture.
//!
//! ```
//! # fn main() -> Result<(), alia::Error> {
//! # let path = std::env::var("MODEL").unwrap();
//! use alia::{Engine, Model, Options};
//!
//! let engine = Engine::open(&Model::open(path)?)?;
//! let options = Options { max_tokens: Some(20), ..Options::default() };
//! for piece in engine.ask_stream("What is the capital of Spain?", None, &options)? {
//!     print!("{}", piece?);
//! }
//! # Ok(())
//! # }
//! ```
mod chat;
mod error;
mod model;
mod options;
mod router;
mod sequence;
mod stream;

pub mod engine;
pub use chat::{ChatEnd, ChatOptions};
pub use engine::{Engine, Numbers, Pooling};
pub use error::{Details, Error};
pub use model::{plan, Load, Model, ModelOptions, Part, Progress, Prompt};
pub use options::{Cache, EngineOptions, Hook, Options, Stop};
pub use sequence::Sequence;
pub use stream::{Completion, Finish, Stream};

#[cfg(doctest)]
#[doc = include_str!("../../../../docs/rust.md")]
#[doc = include_str!("../../../../docs/chat.md")]
struct Docs;

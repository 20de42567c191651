//! Conversations: JSON, a list of messages, which the checkpoint's chat template writes.
use alia_sys as sys;

use crate::error::Error;
use crate::model::{owned_ids, owned_text, Model};

/// Where the text of a conversation ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChatEnd {
    /// Where the assistant's next turn begins.
    #[default]
    Answer,
    /// Inside the last message, which is the start of a turn that the model continues.
    Continue,
    /// Behind the last message's turn.
    Closed,
}

#[derive(Clone, Debug, Default)]
pub struct ChatOptions {
    pub end: ChatEnd,
    /// JSON: a list of tools, as the template takes them; empty: none.
    pub tools: String,
    /// JSON: an object of further variables, such as `{"enable_thinking": false}`; empty: none.
    pub variables: String,
    /// Of several templates; empty: "tool_use" where there are tools and such a one, else "default".
    pub template: String,
    /// The time that templates may show: seconds since 1970, in their time zone; `None`: the system's clock, UTC.
    pub now: Option<u32>,
}

impl ChatOptions {
    /// Borrows its texts.
    fn to_c(&self) -> sys::alia_chat_options {
        sys::alia_chat_options {
            end: match self.end {
                ChatEnd::Answer => sys::ALIA_CHAT_ANSWER,
                ChatEnd::Continue => sys::ALIA_CHAT_CONTINUE,
                ChatEnd::Closed => sys::ALIA_CHAT_CLOSED,
            },
            tools: self.tools.as_ptr().cast(),
            tools_length: self.tools.len() as u64,
            variables: self.variables.as_ptr().cast(),
            variables_length: self.variables.len() as u64,
            template_name: self.template.as_ptr().cast(),
            template_name_length: self.template.len() as u64,
            now: self.now.map_or(-1, i64::from),
            ..sys::ALIA_CHAT_OPTIONS_INIT
        }
    }
}

impl Model {
    /// The text that the checkpoint's chat template makes of messages, JSON, a list of objects with a "role" and mostly
    /// a "content"; without a template it is ChatML, where the vocabulary has it. To look at:
    /// [`encode_chat`](Model::encode_chat) alone keeps what users wrote apart.
    pub fn render_chat(&self, messages: &str, options: &ChatOptions) -> Result<String, Error> {
        let (at, size) = (messages.as_ptr().cast(), messages.len() as u64);
        owned_text(|text, length| unsafe {
            sys::alia_chat_render(self.handle(), at, size, &options.to_c(), text, length)
        })
    }

    /// The same as tokens. No byte of messages, tools or variables is ever part of a special token.
    pub fn encode_chat(&self, messages: &str, options: &ChatOptions) -> Result<Vec<i32>, Error> {
        let (at, size) = (messages.as_ptr().cast(), messages.len() as u64);
        owned_ids(|ids, count| unsafe { sys::alia_chat_encode(self.handle(), at, size, &options.to_c(), ids, count) })
    }

    /// The tokens that end an assistant's turn, beside [`eos`](Model::eos): for
    /// [`Options::stop`](crate::Options::stop).
    pub fn chat_stops(&self) -> Result<Vec<i32>, Error> {
        owned_ids(|ids, count| unsafe { sys::alia_chat_stops(self.handle(), ids, count) })
    }
}

/// A list of messages with one more at its end.
pub(crate) fn with_message(messages: &str, role: &str, content: &str) -> String {
    let earlier = messages.trim_end().strip_suffix(']').unwrap_or(messages).trim_end();
    let comma = if earlier.ends_with('[') { "" } else { ", " };
    let mut text = format!("{earlier}{comma}{{\"role\": \"{role}\", \"content\": \"");
    for c in content.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\0'..='\x1f' => text += &format!("\\u{:04x}", c as u32),
            _ => text.push(c),
        }
    }
    text + "\"}]"
}

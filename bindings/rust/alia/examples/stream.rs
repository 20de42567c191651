//! stream MODEL QUESTION: the answer as it comes.
use std::io::Write;

use alia::{Engine, Model, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 3 {
        eprintln!("usage: stream MODEL QUESTION");
        std::process::exit(2);
    }
    let engine = Engine::open(&Model::open(&arguments[1])?)?;
    let options = Options {
        max_tokens: Some(200),
        ..Options::default()
    };
    let mut answer = engine.ask_stream(&arguments[2], None, &options)?;
    for piece in &mut answer {
        print!("{}", piece?);
        std::io::stdout().flush()?;
    }
    eprintln!("\n{} tokens", answer.completion().tokens.len());
    Ok(())
}

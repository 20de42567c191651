//! ask MODEL QUESTION [SYSTEM]: the answer as a whole; SYSTEM says how to answer.
use alia::{Engine, Error, Model, Options};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    if !(3..=4).contains(&arguments.len()) {
        eprintln!("usage: ask MODEL QUESTION [SYSTEM]");
        std::process::exit(2);
    }
    let engine = Engine::open(&Model::open(&arguments[1])?)?;
    println!(
        "{}",
        engine.ask(
            &arguments[2],
            arguments.get(3).map(String::as_str),
            &Options {
                max_tokens: Some(200),
                ..Options::default()
            }
        )?
    );
    Ok(())
}

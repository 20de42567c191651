//! ask MODEL QUESTION: the answer as a whole.
use alia::{Engine, Error, Model, Options};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 3 {
        eprintln!("usage: ask MODEL QUESTION");
        std::process::exit(2);
    }
    let engine = Engine::open(&Model::open(&arguments[1])?)?;
    println!(
        "{}",
        engine.ask(
            &arguments[2],
            None,
            &Options {
                max_tokens: Some(200),
                ..Options::default()
            }
        )?
    );
    Ok(())
}

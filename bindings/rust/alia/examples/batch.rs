//! batch MODEL FILE: answers every line of the file, sixteen at a time, in order.
use alia::{Engine, EngineOptions, Model, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.len() != 3 {
        eprintln!("usage: batch MODEL FILE");
        std::process::exit(2);
    }
    let engine_options = EngineOptions {
        sequences: 16,
        positions: 16 * 1024,
        ..EngineOptions::default()
    };
    let engine = Engine::open_with(&Model::open(&arguments[1])?, &engine_options)?;
    let options = Options {
        max_tokens: Some(100),
        ..Options::default()
    };
    let questions = std::fs::read_to_string(&arguments[2])?;
    let answers: Result<Vec<_>, _> = questions
        .lines()
        .map(|q| engine.ask_stream(q, None, &options))
        .collect();
    for (question, answer) in questions.lines().zip(answers?) {
        println!("{question}\n    {}", answer.collect::<Result<String, _>>()?);
    }
    Ok(())
}
